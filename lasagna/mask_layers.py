"""The masks of an image as few maps of small numbers, until somebody needs each mask's pixels.

Notation: m: layers; n: masks; h, w: size of the image in pixels; H, W: the vision encoder's input size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from lasagna.geometry import IGNORE_PIXEL, Geometry
from lasagna.small_tensors import SmallTensors

Place = tuple[int, int]
"""Where a mask is: the layer, and the value of its pixels there."""


@dataclass(frozen=True)
class MaskLayers(SmallTensors):
    """Masks of one image. Those that do not overlap can share a layer, as all of a label map do.

    Args:
        layers: uint8 ``[m, h, w]`` in the image's own size.
        places: Where each mask is, ``n`` of them.
        ignored: Where the pixels are that each mask ignores, or None if it ignores none, ``n`` of them.
        geometry: How the image was fitted.
    """

    layers: Tensor
    places: Sequence[Place]
    ignored: Sequence[Place | None]
    geometry: Geometry

    def to(self, device: torch.device | str, non_blocking: bool = False) -> MaskLayers:
        """Return the masks on another device."""
        return replace(self, layers=self.layers.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> MaskLayers:
        """Return the masks in page-locked memory."""
        return replace(self, layers=self.layers.pin_memory())

    def fill(self, targets: Tensor) -> None:
        """Write the masks in the encoder's geometry as ``fit_mask`` does: 0, 1, or 255 for ignored pixels and padding.

        Args:
            targets: Where they go, uint8 ``[n, H, W]``.
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

    def _resized(self) -> Tensor:
        """Return what the input shows of the layers, in the size of the resized image."""
        geometry, device = self.geometry, self.layers.device
        if geometry.seen is None and geometry.resized == geometry.original:
            return self.layers
        spans = zip(geometry.shown, geometry.resized, strict=True)
        rows, columns = (_nearest(span.start, span.stop, resized).to(device) for span, resized in spans)
        return self.layers.index_select(2, columns).index_select(1, rows)


def mask_targets(images: Sequence[MaskLayers]) -> Tensor:
    """Return the masks of images in the encoder's geometry, image by image, uint8 ``[n, H, W]``."""
    counts = [len(image.places) for image in images]
    # touching memory for the first time costs more than the comparing, so that each mask goes straight to its place
    targets = images[0].layers.new_empty((sum(counts), *images[0].geometry.padded))
    for image, places in zip(images, targets.split(counts), strict=True):
        image.fill(places)
    return targets


@lru_cache(maxsize=256)
def _nearest(first: int, stop: int, resized: int) -> Tensor:
    """Return which of some cells each resized one shows, by the rule that ``fit_mask`` follows."""
    ramp = torch.arange(first, stop, dtype=torch.float64)[None, None]
    return torch.nn.functional.interpolate(ramp, size=resized, mode="nearest-exact")[0, 0].long()
