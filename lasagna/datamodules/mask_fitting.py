"""From the masks of an image to targets in the vision encoder's geometry.

Notation: H, W: the vision encoder's input size in pixels; n: masks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.batch import IGNORE_PIXEL, Geometry, fit_mask
from lasagna.dialogue import Dialogue
from lasagna.masks import LabelMap, LabelMask, Mask


class MaskFitting:
    """Fits the masks of one image; a label map that many masks share is resized once for all of them.

    Args:
        geometry: How the image was fitted.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._maps: dict[int, LabelMap] = {}
        self._fitted: dict[int, tuple[Mask, Tensor]] = {}  # the masks are kept, so that their ids stay theirs

    def fill(self, dialogue: Dialogue, targets: Tensor) -> None:
        """Write the targets of a dialogue's masks: 0, 1, or 255 for ignored pixels and padding.

        Args:
            dialogue: The dialogue.
            targets: Where they go, one for each entry with a mask, in order; uint8 ``[n, H, W]``.
        """
        masks = [entry.mask for entry in dialogue.entries if entry.present and entry.mask is not None]
        for target, mask in zip(targets, masks[: len(targets)], strict=True):
            self._write(mask, target)
        if len(targets) and dialogue.ignore is not None:
            ignored = torch.empty(self.geometry.padded, dtype=torch.uint8)
            self._write(dialogue.ignore, ignored)
            targets.masked_fill_(ignored == 1, IGNORE_PIXEL)

    def _write(self, mask: Mask, target: Tensor) -> None:
        """Write a mask into its place: a label map's straight from the resized map, others once fitted and kept."""
        if isinstance(mask, LabelMask) and len(mask.values) == 1:
            height, width = self.geometry.resized
            target[height:] = IGNORE_PIXEL
            target[:height, width:] = IGNORE_PIXEL
            place = target.numpy()[:height, :width].view(np.bool_)
            np.equal(self._map(mask.label_map).pixels, mask.values[0], out=place)
            return
        if id(mask) not in self._fitted:
            self._fitted[id(mask)] = mask, self._fit(mask)
        target.copy_(self._fitted[id(mask)][1])

    def _fit(self, mask: Mask) -> Tensor:
        if isinstance(mask, LabelMask):
            resized = self._map(mask.label_map).mask(mask.values)
            return fit_mask(resized.decode(), replace(self.geometry, original=self.geometry.resized, seen=None))
        return fit_mask(mask.decode(), self.geometry)

    def _map(self, original: LabelMap) -> LabelMap:
        """Return what the input shows of a label map, in the size of the resized image."""
        if self.geometry.seen is None and self.geometry.resized == self.geometry.original:
            return original
        if id(original) not in self._maps:
            rows, columns = map(_nearest, self.geometry.shown, self.geometry.resized)
            self._maps[id(original)] = LabelMap(original.pixels[rows[:, None], columns])
        return self._maps[id(original)]


def _nearest(cells: slice, resized: int) -> NDArray[np.int64]:
    """Return which of some cells each resized one shows, by the rule that ``fit_mask`` follows."""
    ramp = torch.arange(cells.start, cells.stop, dtype=torch.float64)[None, None]
    return torch.nn.functional.interpolate(ramp, size=resized, mode="nearest-exact")[0, 0].numpy().astype(np.int64)
