"""Absent names that are easily taken for present ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lasagna.core.prompt_format import normalise
from lasagna.datamodules.co_occurrence import CoOccurrence
from lasagna.datamodules.strategies import ClassSampling, WithRecords, sampled
from lasagna.errors import ConfigError


class HardNegatives(ClassSampling):
    """Asks for all present names and for absent ones that an assistant could expect or confuse, up to a limit.

    It stands in place of ``ClassSampling``, and draws a share of the absent names by how often they stand beside the
    present ones on other images, and a share by likeness of their words ("polar bear" beside "brown bear"). Such names
    are what most assistants wrongly call present (Li et al., POPE, arXiv 2305.10355, "adversarial"). Draws are random,
    in proportion to the measure. The rest, also where no name has company or is alike, is drawn evenly.

    Args:
        limit: Maximum number of names in a query.
        least: If given, each query draws its own limit between this and ``limit``, as in ``ClassSampling``.
        company: Share of the absent names that is drawn by company.
        words: Share of the absent names that is drawn by likeness of words.

    Raises:
        ValueError: If a limit is not positive, ``least`` is larger than ``limit``, or the shares are not in [0, 1] or
            sum to more than 1.
    """

    def __init__(self, limit: int, least: int | None = None, company: float = 0.5, words: float = 0.0) -> None:
        super().__init__(limit, least)
        if not (0 <= company <= 1 and 0 <= words <= 1 and company + words <= 1):
            raise ValueError(
                "HardNegatives: `company` and `words` must be shares in [0, 1] that sum to at most 1, "
                f"got {company} and {words}"
            )
        self.company = company
        self.words = words
        self.counts: CoOccurrence | None = None

    def for_source(self, source: WithRecords) -> Self:
        """Return the strategy with the counts of a source's records.

        Raises:
            ConfigError: If names are to be drawn by company, and the source has no index of its records.
        """
        bound = copy(self)
        if self.company:
            index = getattr(source, "index", None)
            if index is None:
                raise ConfigError(
                    f"HardNegatives: {type(source).__name__} has no `index` of its records; read them from shards, or "
                    "set `company` to 0"
                )
            bound.counts = CoOccurrence.of_index(index.renamed(getattr(source, "said", str)))
        return bound

    def absent_names(
        self, absent: Sequence[str], present: Sequence[str], count: int, rng: np.random.Generator
    ) -> list[str]:
        """Return the absent names to ask for.

        Raises:
            ConfigError: If names are to be drawn by company, and ``for_source`` was not called.
        """
        if self.company and self.counts is None:
            raise ConfigError("HardNegatives: the strategy knows no records; call `for_source` first")
        left, chosen = list(absent), list[str]()
        count = min(count, len(left))
        for share, measure in ((self.company, self._by_company), (self.words, by_words)):
            wanted = min(int(count * share + rng.random()), count - len(chosen)) if share else 0
            drawn = drawn_by(left, measure(left, present), wanted, rng) if wanted else []
            chosen += drawn
            left = [name for name in left if name not in set(drawn)]
        return chosen + sampled(left, count - len(chosen), rng)

    def _by_company(self, names: Sequence[str], present: Sequence[str]) -> NDArray[np.float64]:
        assert self.counts is not None
        return self.counts.likelihoods(names, present)


def drawn_by(names: Sequence[str], weights: NDArray[np.float64], count: int, rng: np.random.Generator) -> list[str]:
    """Return different names, drawn one after the other in proportion to their weights; none without a weight.

    Args:
        names: The names.
        weights: A weight for each, at least 0.
        count: How many; fewer if fewer have a weight.
        rng: The generator.
    """
    possible = np.flatnonzero(weights > 0)
    # the largest of exponential races, which is the same as drawing one by one
    keys = rng.exponential(size=len(possible)) / weights[possible]
    return [names[place] for place in possible[np.argsort(keys)[:count]].tolist()]


def by_words(names: Sequence[str], present: Sequence[str]) -> NDArray[np.float64]:
    """Return how alike the words of names are to the most similar present one, in [0, 1]; float64 ``[names]``.

    Args:
        names: The names to judge.
        present: The names that an image shows.
    """
    return np.array([max((likeness(name, other) for other in present), default=0.0) for name in names])


@lru_cache(maxsize=1 << 18)
def likeness(one: str, other: str) -> float:
    """Return the share of letters in threes that two names have in common (Dice's coefficient), in [0, 1]."""
    threes = [
        Counter(padded[place : place + 3] for place in range(len(padded) - 2)) for padded in map(_padded, (one, other))
    ]
    shared = (threes[0] & threes[1]).total()
    return 2 * shared / (threes[0].total() + threes[1].total())


def _padded(name: str) -> str:
    return f" {normalise(name)} "
