"""RefCLEF, RefCOCO, RefCOCO+ and RefCOCOg in the layout of REFER.

Source: Kazemzadeh et al. (EMNLP 2014), Yu et al. (ECCV 2016), Mao et al. (CVPR 2016); ``lichengunc/refer``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.coco import read_coco, read_json
from lasagna.datamodules.converters.common.files import ID, Kinds, LayoutError, check_entries, first_folder
from lasagna.datamodules.converters.common.phrases import Expression, phrase_splits
from lasagna.datamodules.converters.common.pickle import read_plain_pickle

REFERENCE: Kinds = {"split": str, "image_id": ID, "ann_id": ID, "sentences": list}
COCO_IMAGES, SAIAPR_IMAGES = Path("images/mscoco/images/train2014"), Path("images/saiapr_tc-12")
EXPECTED = """
  {refclef,refcoco,refcoco+,refcocog}/refs(<split_by>).p and instances.json
  images/mscoco/images/train2014/COCO_train2014_<image id>.jpg, images/saiapr_tc-12/ (RefCLEF), or `--images`"""


class Refer(Converter):
    """A data set in REFER's layout: every sentence is a phrase with one target; an image is one record of a split.

    Sentences are the cleaned ones ("sent"), as all methods use them. A target of several parts is their union.
    "testAB" counts for testA and for testB. Files of REFER are serialised Python data, of which plain data alone is
    read; the same as JSON is taken as well.

    Args:
        source: The folder that holds the data set's folder and ``images``, or the data set's folder itself.
        dataset: Name of the data set's folder.
        split_by: Whose split it is: "unc", "google", "umd" or "berkeley".
        images: The folder of the images, if it is another one.
    """

    def __init__(
        self,
        source: Path,
        dataset: Literal["refclef", "refcoco", "refcoco+", "refcocog"] = "refcoco",
        split_by: Literal["unc", "google", "umd", "berkeley"] = "unc",
        images: Path | None = None,
    ) -> None:
        self.source = source
        self.dataset = dataset
        self.split_by = split_by
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits by the names that the release gives them.

        Raises:
            LayoutError: If the folder is not laid out as expected, or a file of annotations is broken.
        """
        folder = data_folder(self.source, self.dataset, EXPECTED)
        usual = SAIAPR_IMAGES if self.dataset == "refclef" else COCO_IMAGES
        images = first_folder([self.images] if self.images else image_places(self.source, usual), EXPECTED)
        path = references_file(folder, f"refs({self.split_by})")
        expressions = _expressions(read_references(path))
        manifest = refer_manifest(f"{self.dataset}-{self.split_by}")
        return phrase_splits(manifest, read_coco(folder / "instances.json"), images, expressions, path)


class RefCOCO(Refer):
    """RefCOCO (see ``Refer``)."""

    def __init__(self, source: Path, split_by: Literal["unc", "google"] = "unc", images: Path | None = None) -> None:
        super().__init__(source, "refcoco", split_by, images)


class RefCOCOPlus(Refer):
    """RefCOCO+, whose sentences name no places (see ``Refer``)."""

    def __init__(self, source: Path, split_by: Literal["unc", "google"] = "unc", images: Path | None = None) -> None:
        super().__init__(source, "refcoco+", split_by, images)


class RefCOCOg(Refer):
    """RefCOCOg, with longer sentences; Google's split divides things, so that its images are in train and val."""

    def __init__(self, source: Path, split_by: Literal["umd", "google"] = "umd", images: Path | None = None) -> None:
        super().__init__(source, "refcocog", split_by, images)


class RefCLEF(Refer):
    """RefCLEF, on the images of SAIAPR TC-12 (see ``Refer``)."""

    def __init__(self, source: Path, split_by: Literal["unc", "berkeley"] = "unc", images: Path | None = None) -> None:
        super().__init__(source, "refclef", split_by, images)


def image_places(source: Path, usual: Path) -> list[Path]:
    """Return where images may be: in the folder that REFER has them in, or in one of the same name nearby."""
    places = (usual, Path("images") / usual.name, Path(usual.name))
    return [root / place for place in places for root in (source, source.parent)]


def data_folder(source: Path, dataset: str, expected: str) -> Path:
    """Return the folder with the annotations: the source or its folder of the data set's name.

    Raises:
        LayoutError: If neither holds ``instances.json``.
    """
    for folder in (source / dataset, source):
        if (folder / "instances.json").is_file():
            return folder
    raise LayoutError(f"source: neither {source / dataset} nor {source} holds instances.json; expected{expected}")


def references_file(folder: Path, name: str) -> Path:
    """Return the file of references, serialised or as JSON.

    Raises:
        LayoutError: If there is none.
    """
    files = [folder / f"{name}{suffix}" for suffix in (".json", ".p")]
    if found := next((path for path in files if path.is_file()), None):
        return found
    others = ", ".join(sorted(path.name for path in folder.glob("*refs*"))) or "none"
    raise LayoutError(f"split_by: there is no {' or '.join(map(str, files))}; there are {others}")


def read_references(path: Path, kinds: Kinds = REFERENCE) -> list[Mapping[str, Any]]:
    """Read the file of references.

    Raises:
        LayoutError: If it is broken, or holds something else.
    """
    references = read_json(path) if path.suffix == ".json" else read_plain_pickle(path)
    check_entries(references, kinds, f"{path}: references")
    for place, reference in enumerate(references):
        check_entries(reference["sentences"], {"sent": str}, f"{path}: references[{place}]: sentences")
    return list(references)


def split_names(split: str) -> list[str]:
    """Return the splits that a reference counts for: "testAB" is in testA and testB."""
    letters = split.removeprefix("test")
    return [f"test{letter}" for letter in letters] if split.startswith("test") and letters else [split]


def refer_manifest(name: str) -> Manifest:
    """Return the manifest of a data set of phrases alone."""
    return Manifest(
        name=name,
        unannotated="unknown",
        origin=f"{name} in the layout of REFER (lichengunc/refer)",
        licence="expressions as their authors state (Apache-2.0 for the tools); images under the terms of their sets",
    )


def _expressions(references: Iterable[Mapping[str, Any]]) -> Iterator[Expression]:
    for reference in references:
        for sentence in reference["sentences"]:
            for split in split_names(reference["split"]):
                yield Expression(split, reference["image_id"], sentence["sent"], (reference["ann_id"],))
