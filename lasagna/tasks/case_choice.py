"""Which answers of a test are shown: of each source some, about pictures that are shown once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from lasagna.core.batch import Sample
from lasagna.core.dialogue import Dialogue

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Chosen(Generic[T]):
    key: str
    kind: str
    stand_in: bool
    absent: bool
    case: T


class CaseChoice(Generic[T]):
    """Chooses among answers as they come.

    A record is shown once, whichever source reads it, while there are others; and one phrase that fits nothing takes
    the last place of its source, if none is among the first.

    Args:
        room: Answers of each source.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._chosen: dict[int, list[_Chosen[T]]] = {}

    @property
    def cases(self) -> list[T]:
        """What was chosen, source by source."""
        return [chosen.case for _, mine in sorted(self._chosen.items()) for chosen in mine]

    def offer(self, source: int, sample: Sample, make: Callable[[], T]) -> None:
        """Take an answer if it has a place.

        Args:
            source: Position of its source.
            sample: What was asked.
            make: Makes the case to show; called for answers that are taken.
        """
        mine = self._chosen.setdefault(source, [])
        absent, key = fits_nothing(sample.dialogue), sample.key
        place = self._place(mine, key, sample.dialogue.kind, absent)
        if place is not None:
            others = [
                other.key for chosen in self._chosen.values() for other in chosen if other not in mine[place:][:1]
            ]
            mine[place : place + 1] = [_Chosen(key, sample.dialogue.kind, key in others, absent, make())]

    def _place(self, mine: list[_Chosen[T]], key: str, kind: str, absent: bool) -> int | None:
        seen = any(chosen.key == key for chosens in self._chosen.values() for chosen in chosens)
        if len(mine) < self.room:
            twice = any((chosen.key, chosen.kind) == (key, kind) for chosen in mine)
            return None if twice else len(mine)
        if not seen and (stand_ins := [place for place, chosen in enumerate(mine) if chosen.stand_in]):
            return stand_ins[0]
        if absent and not any(chosen.absent for chosen in mine):
            same = [place for place, chosen in enumerate(mine) if chosen.key == key]
            return same[0] if same else None if seen else len(mine) - 1
        return None


def fits_nothing(dialogue: Dialogue) -> bool:
    """Tell whether a dialogue asks for one phrase that nothing in the picture fits."""
    asked = dialogue.kind in ("referring", "reasoning", "explained")
    return asked and not any(entry.present for entry in dialogue.entries)
