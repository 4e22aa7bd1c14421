"""Masks painted into label maps: one label a pixel, overlaps settled.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from lasagna.core.dialogue import Answer
from lasagna.core.masks import BoolMask
from lasagna.core.overlaps import TopMap
from lasagna.tasks.metrics.base import answered_mask

Labels = NDArray[np.int32]
_LARGEST = np.iinfo(np.int32).max


def paint_truth(layers: Iterable[tuple[int, BoolMask]], size: tuple[int, int], none: int) -> Labels:
    """Paint true masks; where some overlap, the smaller one lies on top, of equals the one with the higher label.

    The outcome does not depend on the order in which names were asked.

    Args:
        layers: Labels below ``none``, each once, with their masks, bool ``[H, W]``; taken one at a time.
        size: Height and width in pixels.
        none: Label of the pixels without a mask.

    Returns:
        Labels, int32 ``[H, W]``.
    """
    top = TopMap(size)
    for label, mask in layers:
        top.add_whole(none - 1 - label, mask, _LARGEST - int(np.count_nonzero(mask)))
    return top.labels(np.array([*range(none - 1, -1, -1), none], dtype=np.int32))


def top_of(answer: Answer, size: tuple[int, int]) -> TopMap:
    """Return which entry's mask lies on top at each pixel, ranks being positions in the answer.

    Where the answer does not say so itself, the highest probability of the pixel decides; without one, the mask's
    confidence, or without that its score; of equals the first.

    Args:
        answer: The answer.
        size: Height and width of the image in pixels.

    Raises:
        ValueError: If a mask is of another size.
    """
    masks = [answered_mask(entry, size) for entry in answer.entries]
    if answer.top is not None:
        return answer.top
    top = TopMap(size)
    for rank, (entry, mask) in enumerate(zip(answer.entries, masks, strict=True)):
        if mask is not None:
            weight = float(entry.confidence or entry.score) if entry.probability is None else entry.probability
            top.add(rank, mask, weight)
    return top
