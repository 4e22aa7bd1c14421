"""Which objects of a name have a token of their own, and in which order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lasagna.core.masks import BoolMask, Mask


def objects_in_order(masks: Sequence[Mask], void: BoolMask | None, most: int) -> list[Mask]:
    """Return the objects that an answer tells one by one: the largest first.

    An object without a pixel that counts is left out, and so are the smallest of more objects than an answer tells.

    Args:
        masks: One mask for each object.
        void: Pixels that do not count, bool ``[H, W]``, or None for none.
        most: Most objects.
    """
    found = []
    for mask in masks:
        pixels = mask.decode()
        area = int((pixels if void is None else pixels > void).sum())
        found += [(area, _place(pixels), mask)] if area else []
    found.sort(key=lambda one: (-one[0], one[1]))
    return [mask for _, _, mask in found[:most]]


def _place(pixels: BoolMask) -> tuple[int, int]:
    """Return column and row of the first pixel from the left, of which a mask has one."""
    column = int(np.flatnonzero(pixels.any(0))[0])
    return column, int(np.flatnonzero(pixels[:, column])[0])
