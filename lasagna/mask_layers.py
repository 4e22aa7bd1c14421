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

    def targets(self) -> Tensor:
        """Return the masks in the encoder's geometry, uint8 ``[n, H, W]``: 0, 1, or 255 for ignored and padding.

        Masks are resized as ``fit_mask`` does.
        """
        height, width = self.geometry.resized
        layers = self._resized()
        void = {place: layers[place[0]] == place[1] for place in set(self.ignored) if place is not None}
        targets = layers.new_empty((len(self.places), *self.geometry.padded))
        targets[:, height:] = IGNORE_PIXEL
        targets[:, :height, width:] = IGNORE_PIXEL
        for target, (layer, value), ignored in zip(targets, self.places, self.ignored, strict=True):
            torch.eq(layers[layer], value, out=target[:height, :width])
            if ignored is not None:
                target[:height, :width].masked_fill_(void[ignored], IGNORE_PIXEL)
        return targets

    def _resized(self) -> Tensor:
        if self.geometry.resized == self.geometry.original:
            return self.layers
        rows, columns = map(_nearest, self.geometry.original, self.geometry.resized)
        device = self.layers.device
        return self.layers.index_select(2, columns.to(device)).index_select(1, rows.to(device))


@lru_cache(maxsize=256)
def _nearest(length: int, resized: int) -> Tensor:
    """Return which of some cells each resized one shows, by the rule that ``fit_mask`` follows."""
    ramp = torch.arange(length, dtype=torch.float64)[None, None]
    return torch.nn.functional.interpolate(ramp, size=resized, mode="nearest-exact")[0, 0].long()
