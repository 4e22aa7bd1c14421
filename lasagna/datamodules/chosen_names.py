"""Questions about some names of a data set only: those given, or those that differ in one word."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Self

import numpy as np

from lasagna.core.dialogue import Dialogue
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.datamodules.strategies import Strategy, sampled
from lasagna.errors import ConfigError


class OnlyNames(Strategy):
    """Asks for some names of the data set only, such as those that matter in an application or a comparison.

    It goes first. A list without any of them is left as it is.

    Args:
        names: The names.

    Raises:
        ValueError: If there are none.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if not names:
            raise ValueError("OnlyNames: `names` is empty; list at least one, or leave the strategy out")
        self.names = tuple(names)
        self._forms = frozenset(map(normalise, names))

    def for_manifest(self, manifest: Manifest) -> Self:
        """Return the strategy itself.

        Raises:
            ConfigError: If a name is none of the data set's.
        """
        known = set(map(normalise, manifest.categories))
        if unknown := [name for name in self.names if normalise(name) not in known]:
            raise ConfigError(
                f"OnlyNames: `names` are no categories of {manifest.name!r}: {unknown}; correct them, or leave them out"
            )
        return self

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue about these names."""
        query = [name for name in dialogue.query if normalise(name) in self._forms]
        if not dialogue.kind.many or not query:
            return dialogue
        entries = [entry for entry in dialogue.entries if normalise(entry.name) in self._forms]
        return dialogue.with_answer(query, entries)


class TwinNames(Strategy):
    """Asks only for present names that have twins and for absent twins of theirs, up to a limit.

    Twins are names of the same thing that differ in one word, such as "left red ball" and "left blue ball", or "brown
    bear" and "polar bear". Absent names that are twins of several present ones come first: of a red ball on the left
    and a blue one on the right, each word of "left blue ball" is true of some ball. If no present name has twins, it
    asks for a random name and its twins. In evaluation, the scores of presence are then those of twins.

    Args:
        limit: Maximum number of names in a query.

    Raises:
        ValueError: If the limit is less than 2.
    """

    def __init__(self, limit: int = 12) -> None:
        if limit < 2:
            raise ValueError(f"TwinNames: `limit` must be at least 2, got {limit}")
        self.limit = limit
        self.longest = limit

    def for_manifest(self, manifest: Manifest) -> Self:
        """Return the strategy itself.

        Raises:
            ConfigError: If no two names of the data set are twins.
        """
        if not twins_of(manifest.categories):
            raise ConfigError(
                f"TwinNames: no two of the {len(manifest.categories)} names of {manifest.name!r} differ in one word "
                "before the last only; use ClassSampling or HardNegatives for this data set"
            )
        return self

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue about twins."""
        if not dialogue.kind.many:
            return dialogue
        twins = twins_of(dialogue.query)
        if not twins:
            return dialogue
        answered = {entry.name for entry in dialogue.entries if entry.present}
        present = sampled([name for name in dialogue.query if name in answered and name in twins], self.limit, rng)
        asked = present or [list(twins)[int(rng.integers(len(twins)))]]
        counts = Counter(twin for name in asked for twin in twins[name] if twin not in answered)
        order = sorted(counts, key=lambda name: (-counts[name], rng.random()))
        chosen = {*asked, *order[: self.limit - len(asked)]}
        query = [name for name in dialogue.query if name in chosen]
        return dialogue.with_answer(query, [entry for entry in dialogue.entries if entry.name in chosen])


@lru_cache(maxsize=64)  # every query of a data set has the same names, as long as it is the first strategy
def twins_of(names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the names that have twins among some names, each with its twins.

    Args:
        names: The names, a tuple.
    """
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in names:
        for form in _forms(name):
            groups[form].append(name)
    found: dict[str, dict[str, None]] = {}
    for group in groups.values():
        for name in group if len(group) > 1 else ():
            found.setdefault(name, {}).update(dict.fromkeys(other for other in group if other != name))
    return {name: tuple(found[name]) for name in names if name in found}


def _forms(name: str) -> list[tuple[str, ...]]:
    """Return the words of a name with a gap in place of each but the last."""
    words = tuple(normalise(name).split())
    return [(*words[:place], "", *words[place + 1 :]) for place in range(len(words) - 1)]
