"""The masks of an image, packed into a few label maps until they are needed.

Notation: m: layers; n: masks; h, w: the image's own size; H, W: the vision encoder's input size in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.geometry import IGNORE_PIXEL, Geometry, cell_of
from lasagna.core.processors import SmallTensors

Place = tuple[int, int]
"""Location of a mask: the layer, and the value of its pixels in it."""


@dataclass(frozen=True)
class PackedMasks(SmallTensors):
    """The masks of one image. Masks that do not overlap can share a layer, as those of a label map do.

    Args:
        layers: uint8 ``[m, h, w]`` in the image's own size.
        places: Location of each mask, ``n`` of them.
        ignored: Location of the pixels that each mask ignores, or None, ``n`` of them.
        geometry: The image's geometry.
        cells: Row and column of the one pixel of the input that shows a mask too small to be met by resizing, else
            None; empty, or ``n`` of them, as ``small_cells`` finds them.
        empty: Number of masks without a pixel.
    """

    layers: Tensor
    places: Sequence[Place]
    ignored: Sequence[Place | None]
    geometry: Geometry
    cells: Sequence[tuple[int, int] | None] = ()
    empty: int = 0

    @property
    def small(self) -> int:
        """Number of masks that are learned as one pixel of the input."""
        return sum(cell is not None for cell in self.cells)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedMasks:
        """Return the masks on another device."""
        return replace(self, layers=self.layers.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PackedMasks:
        """Return the masks in page-locked memory."""
        return replace(self, layers=self.layers.pin_memory())

    def fill(self, targets: Tensor) -> None:
        """Write the masks in the encoder's geometry, as ``fit_mask`` does: 0, 1, or 255 for ignored pixels and padding.

        Args:
            targets: Overwritten, uint8 ``[n, H, W]``.
        """
        height, width = self.geometry.resized
        layers = self._resized()
        void = {place: layers[place[0]] == place[1] for place in set(self.ignored) if place is not None}
        targets[:, height:] = IGNORE_PIXEL
        targets[:, :height, width:] = IGNORE_PIXEL
        for target, (layer, value), ignored in zip(targets, self.places, self.ignored, strict=True):
            torch.eq(layers[layer], value, out=target[:height, :width])
            if ignored is not None:
                target[:height, :width].masked_fill_(void[ignored], IGNORE_PIXEL)
        for target, cell in zip(targets, self.cells, strict=False):
            if cell is not None:
                target[cell] = 1

    def _resized(self) -> Tensor:
        """Return the part of the layers that the input shows, in the size of the resized image."""
        geometry, device = self.geometry, self.layers.device
        if geometry.seen is None and geometry.resized == geometry.original:
            return self.layers
        spans = zip(geometry.shown, geometry.resized, strict=True)
        rows, columns = (_nearest(span.start, span.stop, resized).to(device) for span, resized in spans)
        return self.layers.index_select(2, columns).index_select(1, rows)


def small_cells(masks: PackedMasks) -> list[tuple[int, int] | None]:
    """Return the pixel of the input for each mask that resizing does not meet, by the same rule as ``fit_mask``.

    Args:
        masks: The masks of one image, in the CPU's memory.

    Returns:
        Row and column, or None for masks that have pixels in the input anyway or none that it could show.
    """
    geometry = masks.geometry
    if all(resized >= shown for resized, shown in zip(geometry.resized, geometry.shown_size, strict=True)):
        return [None] * len(masks.places)
    layers, resized = masks.layers.numpy(), masks._resized().numpy()
    pairs = {(layer, ignored) for (layer, _), ignored in zip(masks.places, masks.ignored, strict=True)}
    met = {
        (layer, ignored): _values(resized[layer] if ignored is None else resized[layer][_other(resized, ignored)])
        for layer, ignored in pairs
    }
    cells = list[tuple[int, int] | None]()
    for (layer, value), ignored in zip(masks.places, masks.ignored, strict=True):
        if met[layer, ignored][value]:
            cells.append(None)
            continue
        pixels = layers[layer] == value
        cells.append(cell_of(pixels if ignored is None else pixels & _other(layers, ignored), geometry))
    return cells


def _values(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which values of a byte occur, bool ``[256]``; several times as fast as ``numpy.unique``."""
    occurs = np.zeros(256, bool)
    occurs[pixels] = True
    return occurs


def _other(layers: NDArray[np.uint8], place: Place) -> NDArray[np.bool_]:
    """Return the pixels that do not belong to the mask at a place."""
    pixels: NDArray[np.bool_] = layers[place[0]] != place[1]
    return pixels


def mask_targets(images: Sequence[PackedMasks]) -> Tensor:
    """Return the masks of images in the encoder's geometry, image by image, uint8 ``[n, H, W]``.

    Args:
        images: The masks of each image.
    """
    counts = [len(image.places) for image in images]
    # the first write to memory costs more than the comparison, so each mask is written in place
    targets = images[0].layers.new_empty((sum(counts), *images[0].geometry.padded))
    for image, places in zip(images, targets.split(counts), strict=True):
        image.fill(places)
    return targets


@lru_cache(maxsize=256)
def _nearest(first: int, stop: int, resized: int) -> Tensor:
    """Return the source index of each resized cell, by the same rule as ``fit_mask``."""
    ramp = torch.arange(first, stop, dtype=torch.float64)[None, None]
    return torch.nn.functional.interpolate(ramp, size=resized, mode="nearest-exact")[0, 0].long()
