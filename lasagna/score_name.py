"""The names of scores, taken apart: stage/source/quantity/protocol, then "free" and a group where there are such."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_LENGTH = re.compile(r"names-(?P<first>\d+)(?:-(?P<last>\d+|up))?")
_FREE = "free"


@dataclass(frozen=True, order=True)
class Length:
    """How many names a list has, or from how many to how many.

    Args:
        first: Names of the list, or of the shortest list of a group.
        label: As shown: "4", "1-4" or "9-up".
    """

    first: int
    label: str

    @property
    def exact(self) -> bool:
        """Whether it is one length rather than a group of them."""
        return self.label.isdigit()


@dataclass(frozen=True)
class ScoreName:
    """The parts of a score's name.

    Args:
        stage: Such as test; "" if there is none.
        source: Name of the source; "" if there is none.
        quantity: What was measured, with its protocol.
        free: Whether answers were decoded freely.
        group: What else tells it apart, such as a kind of answer.
    """

    stage: str
    source: str
    quantity: str
    free: bool = False
    group: str = ""

    @classmethod
    def parse(cls, name: str) -> ScoreName:
        """Take a name apart."""
        parts = name.split("/")
        if len(parts) < 3:
            return cls("/".join(parts[:-1]), "", parts[-1])
        stage, source, *rest = parts
        group = [part for part in rest[2:] if part != _FREE]
        return cls(stage, source, "/".join(rest[:2]), _FREE in rest[2:], "/".join(group))

    @property
    def is_fault(self) -> bool:
        """Whether it counts how answers broke the format."""
        return self.quantity.split("/")[0] == "faults"

    @property
    def is_length_group(self) -> bool:
        """Whether it is about the lists of some lengths within a source."""
        return any(_LENGTH.fullmatch(part) for part in self.group.split("/"))

    def by_length(self) -> tuple[ScoreName, Length] | None:
        """Return the name without the length of the list, and the length; None if it is not about one.

        A length is the name of a source (``names-04``) or a group within it (``names-1-4``, ``names-9-up``).
        """
        if found := _LENGTH.fullmatch(self.source):
            return replace(self, source=""), _length(found)
        parts = self.group.split("/")
        for place, part in enumerate(parts):
            if found := _LENGTH.fullmatch(part):
                return replace(self, group="/".join(parts[:place] + parts[place + 1 :])), _length(found)
        return None


def _length(found: re.Match[str]) -> Length:
    first = int(found["first"])
    return Length(first, str(first) if found["last"] is None else f"{first}-{found['last']}")
