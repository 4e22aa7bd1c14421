"""gRefCOCO: phrases that refer to one object, several objects or nothing.

Source: Liu, Ding, Jiang (GRES, CVPR 2023); ``henghuiding/gRefCOCO``, ``henghuiding/ReLA``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.coco import CocoFile, read_coco
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

EXPECTED = """
  grefcoco/grefs(unc).json and instances.json
  images/mscoco/images/train2014/COCO_train2014_<image id>.jpg, or `--images`"""


class GRefCOCO(Converter):
    """gRefCOCO; each image is one record of a split, and a phrase has one mask for each object it refers to.

    Annotations of crowds are not targets. A phrase refers to nothing where the release says so; a phrase whose targets
    are all crowds is left out and counted.

    Args:
        source: The folder that holds ``grefcoco`` and ``images``, or ``grefcoco`` itself.
        images: The folder of the images, if it is not in its usual place.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits by their names in the release.

        Raises:
            LayoutError: If the folder does not have the expected layout, or an annotation file is broken.
        """
        folder = data_folder(self.source, ["grefcoco"], EXPECTED)
        images = first_folder([self.images] if self.images else image_places(self.source, COCO_IMAGES), EXPECTED)
        content = read_coco(folder / "instances.json")
        path = references_file(folder, "grefs(unc)")
        references = read_references(path, {**REFERENCE, "ann_id": (*ID, list)})
        several = [one for one in references if isinstance(one["ann_id"], list)]
        check_lists(several, "ann_id", ID, f"{folder}: references of several targets")
        expressions = _expressions(references, content)
        manifest = refer_manifest("grefcoco-unc")
        return phrase_splits(manifest, content, lambda image: images / image["file_name"], expressions, path)


def _expressions(references: Iterable[Mapping[str, Any]], content: CocoFile) -> Iterable[Expression]:
    crowds = {one["id"] for part in content.annotations.values() for one in part if one.get("iscrowd")}
    for reference in references:
        ids = reference["ann_id"]
        listed = ids if isinstance(ids, list) else [ids]
        targets = tuple(number for number in listed if number != NOTHING and number not in crowds)
        lost = not targets and listed != [NOTHING] and reference.get("no_target") is not True
        for sentence in reference["sentences"]:
            for split in split_names(reference["split"]):
                yield Expression(split, reference["image_id"], words_of(sentence), targets, lost)
