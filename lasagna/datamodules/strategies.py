"""The three training strategies: small changes to complex queries and their answers.

They are listed in the order in which they apply: class sampling, negative injection, order randomisation.
See LaSagnA, https://arxiv.org/abs/2404.08506, section 3.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from typing import ClassVar, Literal, Self, TypeVar

import numpy as np

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.errors import ConfigError

T = TypeVar("T")


class Strategy(ABC):
    """A change to a dialogue; dialogues of a kind that it is not meant for pass untouched.

    Attributes:
        leaves_out_present: Whether present names may be asked for and not answered afterwards. Scores need the answer
            to all that is asked, and ``NegativeInjection`` would call such names absent.
    """

    leaves_out_present: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the changed dialogue.

        Args:
            dialogue: What the task, or the strategy before this one, made.
            rng: The generator that belongs to the record in this epoch.
        """

    def for_manifest(self, manifest: Manifest) -> Strategy:
        """Return the strategy as it applies to a data set; most do not depend on its names."""
        return self


class ClassSampling(Strategy):
    """Asks for all present names and a random part of the absent ones, up to a limit.

    Where more names are present than the limit, a random part of them is asked for. Names keep their order.

    Args:
        limit: How many names a query has at most.
        least: Where given, each query draws its own limit between this and ``limit``, so that its length varies; where
            more names are present than drawn, all of them are asked for up to ``limit``.

    Raises:
        ValueError: If a limit is not positive, or the least one is larger than the other.
    """

    def __init__(self, limit: int, least: int | None = None) -> None:
        if limit < 1:
            raise ValueError(f"ClassSampling: `limit` must be at least 1, got {limit}; leave the strategy out for none")
        if least is not None and not 1 <= least <= limit:
            raise ValueError(f"ClassSampling: `least` must be from 1 to `limit`, which is {limit}, got {least}")
        self.limit = limit
        self.least = limit if least is None else least

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with at most ``limit`` names."""
        if dialogue.kind != "categories":
            return dialogue
        drawn = int(rng.integers(self.least, self.limit, endpoint=True))
        limit = min(self.limit, max(drawn, sum(entry.present for entry in dialogue.entries)))
        return dialogue if len(dialogue.query) <= limit else self._sample(dialogue, limit, rng)

    def _sample(self, dialogue: Dialogue, limit: int, rng: np.random.Generator) -> Dialogue:
        answered = {entry.name for entry in dialogue.entries if entry.present}
        present = [name for name in dialogue.query if name in answered]
        absent = [name for name in dialogue.query if name not in answered]
        chosen = set(sampled(present, limit, rng))
        chosen |= set(sampled(absent, limit - len(chosen), rng))
        entries = [entry for entry in dialogue.entries if entry.name in chosen]
        return dialogue.with_answer([name for name in dialogue.query if name in chosen], entries)


class NegativeInjection(Strategy):
    """Answers absent names with the absent token instead of leaving them out.

    The answer then follows the query's order. Extra names come last in the query and are always answered.

    Args:
        count: How many absent names of the query are answered at most, at random; None for all of them.
        extra_names: Names from elsewhere, of things that are on no image of the data set, which nothing checks; those
            that are categories or aliases of the data set, or in the query, are not used.
        extra_count: How many of the extra names are asked for besides, at random.

    Raises:
        ValueError: If a count is negative, or more extra names are wanted than there are.
    """

    def __init__(self, count: int | None = None, extra_names: Sequence[str] = (), extra_count: int = 0) -> None:
        if count is not None and count < 0:
            raise ValueError(f"NegativeInjection: `count` must not be negative, got {count}; use null for all")
        different = tuple({normalise(name): name for name in extra_names}.values())
        if not 0 <= extra_count <= len(different):
            raise ValueError(
                f"NegativeInjection: `extra_count` must be between 0 and the number of different `extra_names`, "
                f"{len(different)}, got {extra_count}"
            )
        self.count = count
        self.extra_names = different
        self.extra_count = extra_count

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with absent names answered."""
        if dialogue.kind != "categories":
            return dialogue
        answered = {entry.name: entry for entry in dialogue.entries}
        silent = [name for name in dialogue.query if name not in answered]
        extra = sampled(_without(self.extra_names, dialogue.query), self.extra_count, rng)
        injected = sampled(silent, len(silent) if self.count is None else self.count, rng) + extra
        answered |= {name: _absent(name) for name in injected}
        query = (*dialogue.query, *extra)
        return dialogue.with_answer(query, [answered[name] for name in query if name in answered])

    def for_manifest(self, manifest: Manifest) -> Self:
        """Return the strategy without the extra names that a data set has itself: they could be present.

        Where fewer are left than are to be asked for, a warning says so, and all of them are.
        """
        bound = copy(self)
        own = (*manifest.categories, *chain.from_iterable(manifest.aliases.values()))
        bound.extra_names = tuple(_without(self.extra_names, own))
        if len(bound.extra_names) < self.extra_count:
            warnings.warn(
                f"NegativeInjection: {len(bound.extra_names)} of the {len(self.extra_names)} `extra_names` are not the "
                f"data set's own, and `extra_count` is {self.extra_count}; list more names to ask for as many",
                stacklevel=2,
            )
        return bound


class OrderRandomization(Strategy):
    """Asks in a random order, and lets the answer follow it.

    Args:
        query: "random" for a random order of the query, "fixed" to leave it as it is (an ablation).
        answer: "follow" for the query's order, "own" for a random order of its own (an ablation).

    Raises:
        ValueError: If an argument is none of these.
    """

    def __init__(
        self, query: Literal["random", "fixed"] = "random", answer: Literal["follow", "own"] = "follow"
    ) -> None:
        if query not in ("random", "fixed"):
            raise ValueError(f"OrderRandomization: `query` must be 'random' or 'fixed', got {query!r}")
        if answer not in ("follow", "own"):
            raise ValueError(f"OrderRandomization: `answer` must be 'follow' or 'own', got {answer!r}")
        self.query = query
        self.answer = answer

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with query and answer in their orders."""
        if dialogue.kind != "categories":
            return dialogue
        query = _shuffled(dialogue.query, rng) if self.query == "random" else list(dialogue.query)
        if self.answer == "own":
            return dialogue.with_answer(query, _shuffled(dialogue.entries, rng))
        rank = {name: place for place, name in enumerate(query)}
        return dialogue.with_answer(query, sorted(dialogue.entries, key=lambda entry: rank[entry.name]))


def sampled(names: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Return some of the names at random, in their order, or all if there are no more than ``count``."""
    if count >= len(names):
        return list(names)
    return [names[place] for place in sorted(rng.choice(len(names), size=count, replace=False).tolist())]


def _shuffled(items: Sequence[T], rng: np.random.Generator) -> list[T]:
    return [items[place] for place in rng.permutation(len(items)).tolist()]


@lru_cache(maxsize=1 << 16)  # the names of a data set come again in every answer
def _absent(name: str) -> Entry:
    return Entry(name, present=False)


def _without(names: Sequence[str], taken: Iterable[str]) -> list[str]:
    if not names:
        return []
    known = {normalise(name) for name in taken}
    return [name for name in names if normalise(name) not in known]


class AnswerSampling(Strategy):
    """Answers all present names and a random part of the absent ones, up to a limit; all names are still asked for.

    Comes behind ``NegativeInjection``, which makes the entries of absent names. The original code (LaSagnA,
    ``utils/sem_seg_dataset.py``) asks for all classes of a data set and answers 80 of them; the paper answers what is
    asked, which is ``ClassSampling``.

    Args:
        limit: How many names are answered at most.
        crowded: How many present and how many absent names are answered at most where ``limit`` or more are present;
            None for ``limit`` of the present ones.

    Raises:
        ValueError: If ``limit`` is not positive, or ``crowded`` is negative, comes to none, or to more than ``limit``.
    """

    leaves_out_present = True

    def __init__(self, limit: int, crowded: tuple[int, int] | None = None) -> None:
        if limit < 1:
            raise ValueError(
                f"AnswerSampling: `limit` must be at least 1, got {limit}; leave the strategy out for none"
            )
        if crowded is not None and (min(crowded) < 0 or not 1 <= sum(crowded) <= limit):
            raise ValueError(
                "AnswerSampling: `crowded` is a number of present and one of absent names, from 1 to `limit` together, "
                f"which is {limit}, got {list(crowded)}"
            )
        self.limit = limit
        self.crowded = (limit, 0) if crowded is None else crowded

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with at most ``limit`` entries, in their order."""
        if dialogue.kind != "categories":
            return dialogue
        there = [entry.name for entry in dialogue.entries if entry.present]
        absent = [entry.name for entry in dialogue.entries if not entry.present]
        is_crowded = len(there) >= self.limit
        present, silent = self.crowded if is_crowded else (len(there), self.limit - len(there))
        chosen = {*sampled(there, present, rng), *sampled(absent, silent, rng)}
        return dialogue.with_answer(dialogue.query, _named(dialogue.entries, chosen))


def _named(entries: Sequence[Entry], names: set[str]) -> list[Entry]:
    return [entry for entry in entries if entry.name in names]


class RandomWording(Strategy):
    """Words each question and its answer in one of the ways that the prompt format has, at random.

    Applies to all kinds of queries; nothing changes in a prompt format of one wording. Evaluation goes without it, in
    the first wordings.
    """

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue in wordings of its own."""
        asked, answered = rng.integers(1 << 31, size=2).tolist()
        return replace(dialogue, wording=(asked, answered))


def check_order(strategies: Sequence[Strategy], place: str, *, scored: bool = False) -> None:
    """Check that no strategy calls absent what one before it left out of the answer, and no score does.

    Args:
        strategies: The strategies, in order.
        place: Where they stand, for the message.
        scored: Whether the dialogues are scored.

    Raises:
        ConfigError: If ``NegativeInjection``, or a score, comes behind a strategy that leaves out present names.
    """
    for rank, strategy in enumerate(strategies):
        if not strategy.leaves_out_present:
            continue
        left_out = f"{place}: {type(strategy).__name__} asks for present names and does not answer them"
        if scored:
            raise ConfigError(f"{left_out}, and scores would take them for absent; use it in training alone")
        if any(isinstance(later, NegativeInjection) for later in strategies[rank:]):
            raise ConfigError(f"{left_out}, and NegativeInjection behind it would call them absent; put it before")
