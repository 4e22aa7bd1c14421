"""Masks painted into label maps: one label a pixel, overlaps settled, and never a stack of all masks.

Notation: H, W: height and width of the image in pixels; k: pixels that several masks claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lasagna.masks import BoolMask

Labels = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Claim:
    """A predicted mask.

    Args:
        label: Label of its pixels.
        mask: Bool ``[H, W]``.
        probability: How probable each pixel is, float ``[H, W]``, or one number for all.
    """

    label: int
    mask: BoolMask
    probability: NDArray[np.floating] | float

    def at(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the probability at some pixels, float32 ``[k]``.

        Args:
            places: Positions in the flattened image, ``[k]``.
        """
        if isinstance(self.probability, float):
            return np.full(places.size, self.probability, dtype=np.float32)
        return self.probability.reshape(-1)[places].astype(np.float32)


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
    labels = np.full(size, none, dtype=np.int32)
    areas = np.zeros(none + 1, dtype=np.int64)
    for label, mask in layers:
        areas[label] = np.count_nonzero(mask)
        places = np.flatnonzero(mask & (labels != none))
        rivals = labels.reshape(-1)[places]
        in_front = (areas[rivals] < areas[label]) | ((areas[rivals] == areas[label]) & (rivals > label))
        np.copyto(labels, label, where=mask)
        labels.reshape(-1)[places[in_front]] = rivals[in_front]
    return labels


def paint_claims(claims: Sequence[Claim], size: tuple[int, int], none: int) -> Labels:
    """Paint predicted masks; where some overlap, the most probable one lies on top, the first one of equals.

    Args:
        claims: The predicted masks.
        size: Height and width in pixels.
        none: Label of the pixels that nothing claims.

    Returns:
        Labels, int32 ``[H, W]``.
    """
    labels = np.full(size, none, dtype=np.int32)
    claimed, contested = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for claim in claims:
        contested |= claimed & claim.mask
        claimed |= claim.mask
        np.copyto(labels, claim.label, where=claim.mask)
    _settle(labels, np.flatnonzero(contested), claims)
    return labels


def _settle(labels: Labels, places: NDArray[np.intp], claims: Sequence[Claim]) -> None:
    best = np.full(places.size, -1, dtype=np.float32)
    winners = labels.reshape(-1)[places]
    for claim in claims if places.size else ():
        own = np.flatnonzero(claim.mask.reshape(-1)[places])
        probability = claim.at(places[own])
        better = probability > best[own]
        best[own[better]] = probability[better]
        winners[own[better]] = claim.label
    labels.reshape(-1)[places] = winners
