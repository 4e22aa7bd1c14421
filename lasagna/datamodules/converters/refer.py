"""RefCLEF, RefCOCO, RefCOCO+ and RefCOCOg in the layout of REFER.

Source: Kazemzadeh et al. (EMNLP 2014), Yu et al. (ECCV 2016), Mao et al. (CVPR 2016); ``lichengunc/refer``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.coco import read_coco
from lasagna.datamodules.converters.common.coco_regions import Place
from lasagna.datamodules.converters.common.entries import ID, check_lists
from lasagna.datamodules.converters.common.files import first_folder
from lasagna.datamodules.converters.common.phrases import Expression, phrase_splits
from lasagna.datamodules.converters.common.refer_files import (
    COCO_IMAGES,
    NOTHING,
    REFERENCE,
    data_folder,
    image_places,
    read_references,
    refer_manifest,
    references_file,
    split_names,
    words_of,
)

SAIAPR_IMAGES = Path("images/saiapr_tc-12")


class ReferLayout(Converter):
    """A data set in REFER's layout: each sentence is a phrase; each image is one record of a split.

    The sentences are the cleaned ones ("sent"), which all methods use, or those written ("raw") where a release has no
    others. A target with several parts is their union. The split "testAB" belongs to both testA and testB. REFER's
    files are pickles, of which only plain data is read; the same content as JSON is accepted as well.

    Args:
        source: The folder that holds the data set's folder and ``images``, or the data set's folder itself.
        images: The folder of the images, if it is not in its usual place.
        split_by: Author of the splits, as in the name of the file of references; by default the usual ones.
    """

    def __init__(self, source: Path, images: Path | None = None, split_by: str | None = None) -> None:
        self.source = source
        self.images = images
        self.split_by = split_by

    @property
    def usual(self) -> Path:
        """The usual folder of the images."""
        return COCO_IMAGES

    @property
    @abstractmethod
    def release(self) -> tuple[str, Sequence[str], Sequence[str]]:
        """Name of the data set, its possible folders, and the usual authors of the splits, the first ones first."""

    def fits(self, reference: Mapping[str, Any], sentence: Mapping[str, Any]) -> bool:
        """Return whether a sentence fits what its reference is about, rather than nothing."""
        return True

    def group(self, reference: Mapping[str, Any]) -> str:
        """Return what to call the thing that a reference is about, if scores take its sentences together."""
        return ""

    def splits(self) -> Mapping[str, Split]:
        """Return the splits by their names in the release.

        Raises:
            LayoutError: If the folder does not have the expected layout, or an annotation file is broken.
        """
        name, folders, authors = self.release
        expected = f"\n  {'|'.join(folders)}/refs({authors[0]}).p and instances.json\n  {self.usual}, or `--images`"
        folder = data_folder(self.source, folders, expected)
        place = self.place(expected)
        content = read_coco(folder / "instances.json")
        path = references_file(folder, *(f"refs({one})" for one in ([self.split_by] if self.split_by else authors)))
        references = read_references(path, {**REFERENCE, "ann_id": (*ID, list)})
        several = [one for one in references if isinstance(one["ann_id"], list)]
        check_lists(several, "ann_id", ID, f"{path}: references of several targets")
        expressions = (
            Expression(
                split,
                reference["image_id"],
                words_of(sentence),
                _targets(reference) if self.fits(reference, sentence) else (),
                group=self.group(reference),
            )
            for reference in references
            for sentence in reference["sentences"]
            for split in split_names(reference["split"])
        )
        return phrase_splits(refer_manifest(name), content, place, expressions, path)

    def place(self, expected: str) -> Place:
        """Return where images are.

        Raises:
            LayoutError: If there is no folder of images.
        """
        images = first_folder([self.images] if self.images else image_places(self.source, self.usual), expected)
        return lambda image: images / image["file_name"]


def _targets(reference: Mapping[str, Any]) -> tuple[int | str, ...]:
    ids = reference["ann_id"]
    return tuple(number for number in ids if number != NOTHING) if isinstance(ids, list) else (ids,)


class Refer(ReferLayout):
    """A data set of REFER itself, each of whose sentences has one target (see ``ReferLayout``).

    Args:
        source: The folder that holds the data set's folder and ``images``, or the data set's folder itself.
        dataset: Name of the data set's folder.
        split_by: Author of the splits: "unc", "google", "umd" or "berkeley".
        images: The folder of the images, if it is not in its usual place.
    """

    def __init__(
        self,
        source: Path,
        dataset: Literal["refclef", "refcoco", "refcoco+", "refcocog"] = "refcoco",
        split_by: Literal["unc", "google", "umd", "berkeley"] = "unc",
        images: Path | None = None,
    ) -> None:
        super().__init__(source, images, split_by)
        self.dataset = dataset

    @property
    def release(self) -> tuple[str, Sequence[str], Sequence[str]]:
        """Name of the data set with the author of its splits, its folder, and the author."""
        return f"{self.dataset}-{self.split_by}", [self.dataset], [str(self.split_by)]

    @property
    def usual(self) -> Path:
        """The usual folder of the images."""
        return SAIAPR_IMAGES if self.dataset == "refclef" else COCO_IMAGES


class RefCOCO(Refer):
    """RefCOCO (see ``Refer``)."""

    def __init__(self, source: Path, split_by: Literal["unc", "google"] = "unc", images: Path | None = None) -> None:
        super().__init__(source, "refcoco", split_by, images)


class RefCOCOPlus(Refer):
    """RefCOCO+, whose sentences do not refer to positions (see ``Refer``)."""

    def __init__(self, source: Path, split_by: Literal["unc", "google"] = "unc", images: Path | None = None) -> None:
        super().__init__(source, "refcoco+", split_by, images)


class RefCOCOg(Refer):
    """RefCOCOg, with longer sentences; Google's split is by object, so that images occur in both train and val."""

    def __init__(self, source: Path, split_by: Literal["umd", "google"] = "umd", images: Path | None = None) -> None:
        super().__init__(source, "refcocog", split_by, images)


class RefCLEF(Refer):
    """RefCLEF, on the images of SAIAPR TC-12 (see ``Refer``)."""

    def __init__(self, source: Path, split_by: Literal["unc", "berkeley"] = "unc", images: Path | None = None) -> None:
        super().__init__(source, "refclef", split_by, images)
