"""RefCLEF, RefCOCO, RefCOCO+ and RefCOCOg in the layout of REFER.

Source: Kazemzadeh et al. (EMNLP 2014), Yu et al. (ECCV 2016), Mao et al. (CVPR 2016); ``lichengunc/refer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.coco import read_coco
from lasagna.datamodules.converters.common.files import first_folder
from lasagna.datamodules.converters.common.phrases import Expression, phrase_splits
from lasagna.datamodules.converters.common.refer_files import (
    COCO_IMAGES,
    data_folder,
    image_places,
    read_references,
    refer_manifest,
    references_file,
    split_names,
)

SAIAPR_IMAGES = Path("images/saiapr_tc-12")
EXPECTED = """
  {refclef,refcoco,refcoco+,refcocog}/refs(<split_by>).p and instances.json
  images/mscoco/images/train2014/COCO_train2014_<image id>.jpg, images/saiapr_tc-12/ (RefCLEF), or `--images`"""


class Refer(Converter):
    """A data set in REFER's layout: each sentence is a phrase with one target; each image is one record of a split.

    The sentences are the cleaned ones ("sent"), which all methods use. A target with several parts is their union.
    The split "testAB" belongs to both testA and testB. REFER's files are pickles, of which only plain data is read; the
    same content as JSON is accepted as well.

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
        self.source = source
        self.dataset = dataset
        self.split_by = split_by
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits by their names in the release.

        Raises:
            LayoutError: If the folder does not have the expected layout, or an annotation file is broken.
        """
        folder = data_folder(self.source, self.dataset, EXPECTED)
        usual = SAIAPR_IMAGES if self.dataset == "refclef" else COCO_IMAGES
        images = first_folder([self.images] if self.images else image_places(self.source, usual), EXPECTED)
        path = references_file(folder, f"refs({self.split_by})")
        expressions = (
            Expression(split, reference["image_id"], sentence["sent"], (reference["ann_id"],))
            for reference in read_references(path)
            for sentence in reference["sentences"]
            for split in split_names(reference["split"])
        )
        manifest = refer_manifest(f"{self.dataset}-{self.split_by}")
        return phrase_splits(manifest, read_coco(folder / "instances.json"), images, expressions, path)


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
