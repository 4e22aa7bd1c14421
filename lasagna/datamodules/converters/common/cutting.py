"""Cutting tiles out of a record: its image, its label map and the masks of its annotations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from lasagna.core.annotations import Phrase, Region
from lasagna.core.mask_lines import cut_mask
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Record
from lasagna.core.tiles import Tile
from lasagna.datamodules.converters.common.files import png_of
from lasagna.errors import RecordError

ImageFormat = Literal["png", "jpeg"]


class RecordCutter:
    """Cuts tiles out of one record, whose image is decoded once for all of them.

    A category without a pixel in a tile is absent from it; where "not annotated" means unknown, it is listed as absent.
    One whose mask has no pixel at all is unclear. Questions, captions and conversations, which are about the whole
    picture, are left out.

    Args:
        record: The record.
        whole_phrases: Whether phrases stay that match nothing or whose objects all lie completely in the tile;
            otherwise none stays.
        image_format: How the pictures of tiles are stored.

    Raises:
        RecordError: If the image or the label map cannot be decoded, or the image has another size than the record
            states; or if the record shows several images.
    """

    def __init__(self, record: Record, whole_phrases: bool = False, image_format: ImageFormat = "png") -> None:
        if record.others:
            raise RecordError(f"record {record.key}: only records of one image are cut into tiles, this one has more")
        self.record = record
        self.whole_phrases = whole_phrases
        self.image_format = image_format
        self._image = record.image()
        self._names = tuple(record.category_masks())
        self._boxes: dict[int, Tile | None] = {}
        if self._image.shape[:2] != record.size:
            raise RecordError(f"record {record.key}: the image has size {self._image.shape[:2]}, not {record.size}")

    def cut(self, tile: Tile, key: str) -> Record:
        """Return the record of a tile.

        Args:
            tile: Where it lies.
            key: Its key.
        """
        record = self.record
        regions = [self._region(region, tile) for region in record.regions]
        void = [region.name for region in record.regions if not self._has_pixels(region)]
        labels = None if record.label_map is None else png_of(_contiguous(record.label_map.pixels[tile.slices]))
        cut = replace(
            record,
            key=key,
            image_bytes=self._encoded(tile),
            size=tile.size,
            label_bytes=labels,
            regions=tuple(region for region in regions if region is not None),
            phrases=tuple(self._phrases(tile)) if self.whole_phrases else (),
            questions=(),
            conversation=(),
            captions=(),
            ignore=None if record.ignore is None else self._cut(record.ignore, tile),
            unclear=tuple(dict.fromkeys((*record.unclear, *void))),
        )
        if record.manifest.unannotated == "absent":
            return cut
        known = {*cut.category_masks(), *record.absent, *cut.unclear}
        return replace(cut, absent=(*record.absent, *(name for name in self._names if name not in known)))

    def _encoded(self, tile: Tile) -> bytes:
        buffer, picture = BytesIO(), Image.fromarray(_contiguous(self._image[tile.slices]))
        picture.save(buffer, self.image_format.upper(), quality=95, subsampling=0)
        return buffer.getvalue()

    def _region(self, region: Region, tile: Tile) -> Region | None:
        """Return a category with the objects that have a pixel in the tile, or None if there is none."""
        if region.masks is None:
            mask = self._cut(region.mask, tile)
            return None if mask is None else Region(region.name, mask)
        masks, crowds = (self._all_cut(part, tile) for part in (region.masks, region.crowds))
        return Region.of_objects(region.name, masks, crowds) if masks or crowds else None

    def _all_cut(self, masks: Iterable[Mask], tile: Tile) -> list[RLEMask]:
        return [cut for mask in masks if (cut := self._cut(mask, tile)) is not None]

    def _phrases(self, tile: Tile) -> Iterable[Phrase]:
        """Yield the phrases that are as true of the tile as of the picture."""
        for phrase in self.record.phrases:
            boxes = [self._box(mask) for mask in phrase.masks]
            if all(box is not None and box.common(tile) == box for box in boxes):
                yield replace(phrase, masks=tuple(self._all_cut(phrase.masks, tile)))

    def _cut(self, mask: Mask, tile: Tile) -> RLEMask | None:
        """Return the part of a mask in the tile, or None if it has no pixel there."""
        box = self._box(mask)
        if box is None or box.common(tile) is None:
            return None
        cut = cut_mask(_coded(mask), tile)
        return cut if cut.any() else None

    def _has_pixels(self, region: Region) -> bool:
        parts = (region.mask,) if region.masks is None else (*region.masks, *region.crowds)
        return any(self._box(part) is not None for part in parts)

    def _box(self, mask: Mask) -> Tile | None:
        """Return the rectangle around a mask, or None if it has no pixel; a picture may have thousands of objects."""
        if id(mask) not in self._boxes:
            left, top, width, height = map(int, coco.toBbox(_coded(mask).to_json()).tolist())
            self._boxes[id(mask)] = Tile(top, left, height, width) if width and height else None
        return self._boxes[id(mask)]


def _coded(mask: Mask) -> RLEMask:
    return mask if isinstance(mask, RLEMask) else RLEMask.from_array(mask.decode())


def _contiguous(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels)
