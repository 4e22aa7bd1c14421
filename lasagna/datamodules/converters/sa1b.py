"""SA-1B, and other files in its form: a JSON file with masks beside each image.

Source: Kirillov et al. (Segment Anything, arXiv 2304.02643); ``facebookresearch/segment-anything``, README.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Phrase, Record, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import lost_parts, read_mask, stated_size
from lasagna.datamodules.converters.common.coco_regions import record_keys
from lasagna.datamodules.converters.common.entries import check_entries, read_json
from lasagna.datamodules.converters.common.files import LayoutError, read_annotated_image_file
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

SUFFIXES = (".jpg", ".jpeg", ".png")
EXPECTED = """
  sa_<number>.jpg with sa_<number>.json beside it, in the folder or in folders in it (sa_000000, ...)"""


@dataclass(frozen=True)
class MaskFile:
    """An image with its file of masks.

    Args:
        key: Name of the record.
        image: The image file.
        annotation: The JSON file.
    """

    key: str
    image: Path
    annotation: Path


class SA1B(Converter):
    """Images with masks that no name belongs to, as objects of one category; captions of masks are phrases.

    What has no mask may be there all the same, so that nothing is absent. A mask with a text in "caption", as data sets
    that describe SA-1B's masks have it, is what that phrase means.

    Args:
        source: The folder of the files.
        category: The category of all masks.
        name: Name of the data set.
    """

    def __init__(self, source: Path, category: str = "object", name: str = "sa-1b") -> None:
        self.source = source
        self.category = category
        self.name = name

    def splits(self) -> Mapping[str, Split]:
        """Return the only split, "train".

        Raises:
            LayoutError: If there are no files; later, if an image is missing.
        """
        if not any(self.source.rglob("*.json")):
            raise LayoutError(f"source: {self.source} holds no JSON files beside images; expected{EXPECTED}")
        return LazySplits({"train": partial(self._split)})

    def _split(self) -> Split:
        files = sorted(self.source.rglob("*.json"))
        images = [_image(path) for path in files]
        keys = record_keys(images)
        items = [MaskFile(key, image, path) for key, image, path in zip(keys, images, files, strict=True)]
        manifest = Manifest(
            name=self.name,
            categories=(self.category,),
            unannotated="unknown",
            origin=f"{self.name}, in the form of SA-1B",
            licence="as its source states; SA-1B: research only, terms of Meta",
        )
        paths = [path for item in items for path in (item.image, item.annotation)]
        return Split(manifest, items, ReadMasks(manifest), paths)


def _image(path: Path) -> Path:
    files = [path.with_suffix(suffix) for suffix in SUFFIXES]
    return next((file for file in files if file.is_file()), files[0])


@dataclass(frozen=True)
class ReadMasks:
    """Reads an image with its file of masks.

    Args:
        manifest: What holds for all records.
    """

    manifest: Manifest

    def __call__(self, item: MaskFile) -> ReadResult:
        """Read the image and the masks.

        Raises:
            RecordError: If a file is broken, the image has another size than stated, or a mask has another size.
        """
        image, annotations = _content(item.annotation)
        data, size = read_annotated_image_file(item.image, stated_size(image))
        masks, phrases, left = list[Mask](), list[Phrase](), list[Skipped]()
        for rank, one in enumerate(annotations):
            where = f"{item.annotation.name}: annotation {one.get('id', rank)}"
            mask = read_mask(one["segmentation"], size, where)
            if isinstance(mask, Skipped):
                left.append(mask)
                continue
            left += lost_parts(one["segmentation"], size, where)
            masks.append(mask)
            caption = one.get("caption")
            phrases += [Phrase(caption.strip(), (mask,))] if isinstance(caption, str) and caption.strip() else []
        if not masks:
            return ReadResult(None, (*left, Skipped("image without a mask", item.key)))
        regions = (Region.of_objects(self.manifest.categories[0], masks),)
        record = Record(item.key, data, size, self.manifest, regions, tuple(phrases))
        return ReadResult(record, tuple(left))


def _content(path: Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return what a file says about its image, and its annotations."""
    try:
        content = read_json(path)
        check_entries([content], {"image": dict, "annotations": list}, str(path))
        check_entries(content["annotations"], {"segmentation": object}, f"{path}: annotations")
    except LayoutError as error:
        raise RecordError(str(error)) from error
    return content["image"], content["annotations"]
