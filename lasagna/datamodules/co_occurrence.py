"""How often categories appear on the same images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lasagna.core.prompt_format import normalise
from lasagna.datamodules.shards.index import ShardIndex


class CoOccurrence:
    """How often categories appear together.

    Args:
        names: The categories; upper and lower case are the same.
        together: Number of images that show two categories, ``[names, names]``; the diagonal has the number of images
            that show each.
    """

    def __init__(self, names: Sequence[str], together: NDArray[np.int64]) -> None:
        self.ranks = {normalise(name): rank for rank, name in enumerate(names)}
        self.together = together

    @classmethod
    def of_index(cls, index: ShardIndex) -> CoOccurrence:
        """Return the counts of all records of shards."""
        return cls(index.names, index.together)

    @classmethod
    def of_lists(cls, lists: Iterable[Iterable[str]]) -> CoOccurrence:
        """Return the counts of images, each given as the list of its categories."""
        ranks: dict[str, int] = {}
        shown = [[ranks.setdefault(normalise(name), len(ranks)) for name in names] for names in lists]
        together = np.zeros((len(ranks), len(ranks)), dtype=np.int64)
        for places in shown:
            together[np.ix_(places, places)] += 1
        return cls(tuple(ranks), together)

    def likelihoods(self, names: Sequence[str], present: Iterable[str]) -> NDArray[np.float64]:
        """Return how likely each of some names is beside those that are present.

        Args:
            names: The names to judge.
            present: The names that an image shows.

        Returns:
            For each name, the share of the images with a present category that also show it, averaged over the present
            categories that any image shows; float64 ``[names]``.
        """
        images = self.together.diagonal()
        ranks = (self.ranks.get(normalise(name), -1) for name in present)
        known = [rank for rank in ranks if rank >= 0 and images[rank]]
        if not known:
            return np.zeros(len(names))
        shares = (self.together[known] / images[known, None]).mean(0)
        # the last place is for names that no image shows
        places = [self.ranks.get(normalise(name), len(shares)) for name in names]
        return np.asarray(np.append(shares, 0.0)[places])
