"""Training strategies: small changes to dialogues, mostly to queries for a list of categories.

The three of the paper come first, in the order in which they apply: class sampling, negative injection, order
randomisation. See LaSagnA, https://arxiv.org/abs/2404.08506, section 3.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from copy import copy
from functools import lru_cache
from itertools import chain
from typing import ClassVar, Literal, Protocol, Self, TypeVar

import numpy as np

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_format import PromptFormat, normalise
from lasagna.core.record import Manifest

T = TypeVar("T")


class WithRecords(Protocol):
    """A source of records; one that is read from shards also has an ``index`` of what each record holds."""

    @property
    def manifest(self) -> Manifest:
        """Facts about the data set."""


class Strategy(ABC):
    """A change to a dialogue; dialogues of other kinds pass unchanged.

    Attributes:
        leaves_out_present: Whether the changed query may ask for present names that its answer leaves out. Scores need
            an answer to every name, and a strategy that answers absent names would call such names absent.
        answers_absent: Whether the changed dialogue answers the names without an entry as absent.
        words_only: Whether it changes the wording alone; evaluations then apply it where a control chooses the names.
        longest: Most names of the changed query, from which ``lasagna plan`` tells the length of rows; None for any.
    """

    leaves_out_present: ClassVar[bool] = False
    answers_absent: ClassVar[bool] = False
    words_only: ClassVar[bool] = False
    longest: int | None = None

    @abstractmethod
    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the changed dialogue.

        Args:
            dialogue: The dialogue from the task or the previous strategy.
            rng: The random generator of this record in this epoch.
        """

    def for_manifest(self, manifest: Manifest) -> Strategy:
        """Return the strategy adapted to the names of a data set; most do not depend on them."""
        return self

    def check_format(self, prompt_format: PromptFormat) -> None:  # noqa: B027 - most need nothing
        """Check that a prompt format has what the strategy needs; most need nothing.

        Raises:
            ConfigError: If it does not.
        """

    def for_source(self, source: WithRecords) -> Strategy:
        """Return the strategy adapted to a source; most depend on no more than its manifest."""
        return self.for_manifest(source.manifest)


class ClassSampling(Strategy):
    """Asks for all present names and a random subset of the absent ones, up to a limit.

    If more names are present than the limit, it asks for a random subset of them. Names keep their order.

    Args:
        limit: Maximum number of names in a query.
        least: If given, each query draws its own limit between this and ``limit``, so that lengths vary. If more names
            are present than drawn, it asks for all of them, up to ``limit``.

    Raises:
        ValueError: If a limit is not positive, or ``least`` is larger than ``limit``.
    """

    def __init__(self, limit: int, least: int | None = None) -> None:
        name = type(self).__name__
        if limit < 1:
            raise ValueError(f"{name}: `limit` must be at least 1, got {limit}; omit the strategy for no limit")
        if least is not None and not 1 <= least <= limit:
            raise ValueError(f"{name}: `least` must be from 1 to `limit` ({limit}), got {least}")
        self.limit = limit
        self.longest = limit
        self.least = limit if least is None else least

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with at most ``limit`` names."""
        if not dialogue.kind.many:
            return dialogue
        drawn = int(rng.integers(self.least, self.limit, endpoint=True))
        limit = min(self.limit, max(drawn, sum(entry.present for entry in dialogue.entries)))
        if len(dialogue.query) <= limit:
            return dialogue
        answered = {entry.name for entry in dialogue.entries if entry.present}
        present = [name for name in dialogue.query if name in answered]
        absent = [name for name in dialogue.query if name not in answered]
        chosen = set(sampled(present, limit, rng))
        chosen |= set(self.absent_names(absent, present, limit - len(chosen), rng))
        query = [name for name in dialogue.query if name in chosen]
        return dialogue.with_answer(query, [entry for entry in dialogue.entries if entry.name in chosen])

    def absent_names(
        self, absent: Sequence[str], present: Sequence[str], count: int, rng: np.random.Generator
    ) -> list[str]:
        """Return the absent names to ask for; a subclass may prefer some.

        Args:
            absent: The absent names of the query.
            present: Its present names.
            count: How many to choose; all if there are no more.
            rng: The random generator of this record in this epoch.
        """
        return sampled(absent, count, rng)


class NegativeInjection(Strategy):
    """Answers absent names with the absent token instead of leaving them out.

    The answer then follows the query's order. Extra names come last in the query and are always answered.

    Args:
        count: Maximum number of absent names of the query to answer, chosen at random; None for all of them.
        extra_names: Names of things that occur on no image of the data set, which is not checked. Those that are
            categories or aliases of the data set, or already in the query, are not used.
        extra_count: Number of extra names to add to each query, chosen at random.

    Raises:
        ValueError: If a count is negative, or ``extra_count`` exceeds the number of extra names.
    """

    answers_absent = True

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
        if not dialogue.kind.many:
            return dialogue
        answered = {entry.name: entry for entry in dialogue.entries}
        unanswered = [name for name in dialogue.query if name not in answered]
        extra = sampled(_without(self.extra_names, dialogue.query), self.extra_count, rng)
        injected = sampled(unanswered, len(unanswered) if self.count is None else self.count, rng) + extra
        answered |= {name: _absent(name) for name in injected}
        query = (*dialogue.query, *extra)
        return dialogue.with_answer(query, [answered[name] for name in query if name in answered])

    def for_manifest(self, manifest: Manifest) -> Self:
        """Return the strategy without the extra names that are names of the data set, which could be present.

        If fewer than ``extra_count`` remain, all of them are used and a warning is raised.
        """
        bound = copy(self)
        own = (*manifest.categories, *chain.from_iterable(manifest.aliases.values()))
        bound.extra_names = tuple(_without(self.extra_names, own))
        if len(bound.extra_names) < self.extra_count:
            warnings.warn(
                f"NegativeInjection: {len(bound.extra_names)} of the {len(self.extra_names)} `extra_names` are not "
                f"names of the data set, and `extra_count` is {self.extra_count}; list more names to use as many",
                stacklevel=2,
            )
        return bound


class OrderRandomization(Strategy):
    """Shuffles the query, and orders the answer as the query.

    Args:
        query: "random" to shuffle the query, "fixed" to leave it as it is (an ablation).
        answer: "follow" for the query's order, "own" for an independent random order (an ablation).

    Raises:
        ValueError: If an argument has another value.
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
        """Return the dialogue with query and answer reordered."""
        if not dialogue.kind.many:
            return dialogue
        query = _shuffled(dialogue.query, rng) if self.query == "random" else list(dialogue.query)
        if self.answer == "own":
            return dialogue.with_answer(query, _shuffled(dialogue.entries, rng))
        rank = {name: place for place, name in enumerate(query)}
        return dialogue.with_answer(query, sorted(dialogue.entries, key=lambda entry: rank[entry.name]))


def sampled(names: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Return a random subset of the names in their order.

    Args:
        names: The names.
        count: Size of the subset; all names if there are no more.
        rng: Random generator; not used if all names are returned.
    """
    if count >= len(names):
        return list(names)
    return [names[place] for place in sorted(rng.choice(len(names), size=count, replace=False).tolist())]


def _shuffled(items: Sequence[T], rng: np.random.Generator) -> list[T]:
    return [items[place] for place in rng.permutation(len(items)).tolist()]


@lru_cache(maxsize=1 << 16)  # the names of a data set recur in every answer
def _absent(name: str) -> Entry:
    return Entry(name, present=False)


def _without(names: Sequence[str], taken: Iterable[str]) -> list[str]:
    if not names:
        return []
    known = {normalise(name) for name in taken}
    return [name for name in names if normalise(name) not in known]


class AnswerSampling(Strategy):
    """Answers all present names and a random subset of the absent ones, up to a limit; the query stays complete.

    It goes after ``NegativeInjection``, which makes the entries of absent names. The original code (LaSagnA,
    ``utils/sem_seg_dataset.py``) asks for all classes of a data set and answers 80 of them. In the paper every name of
    the query is answered, which is ``ClassSampling``.

    Args:
        limit: Maximum number of names to answer.
        crowded: Maximum numbers of present and of absent names to answer if at least ``limit`` names are present; None
            for ``limit`` present ones.

    Raises:
        ValueError: If ``limit`` is not positive, or ``crowded`` is negative or does not sum to 1 to ``limit``.
    """

    leaves_out_present = True

    def __init__(self, limit: int, crowded: tuple[int, int] | None = None) -> None:
        if limit < 1:
            raise ValueError(f"AnswerSampling: `limit` must be at least 1, got {limit}; omit the strategy for no limit")
        if crowded is not None and (min(crowded) < 0 or not 1 <= sum(crowded) <= limit):
            raise ValueError(
                "AnswerSampling: `crowded` must be two counts, of present and of absent names, that are not negative "
                f"and sum to a number from 1 to `limit` ({limit}), got {list(crowded)}"
            )
        self.limit = limit
        self.crowded = (limit, 0) if crowded is None else crowded

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with at most ``limit`` entries, in their order."""
        if not dialogue.kind.many:
            return dialogue
        present = [entry.name for entry in dialogue.entries if entry.present]
        absent = [entry.name for entry in dialogue.entries if not entry.present]
        is_crowded = len(present) >= self.limit
        present_count, absent_count = self.crowded if is_crowded else (len(present), self.limit - len(present))
        chosen = {*sampled(present, present_count, rng), *sampled(absent, absent_count, rng)}
        return dialogue.with_answer(dialogue.query, [entry for entry in dialogue.entries if entry.name in chosen])
