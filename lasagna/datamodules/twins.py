"""Twins of records: the same image with another thing in the place of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lasagna.core.record import Record


@dataclass(frozen=True)
class Twin:
    """A record in which one thing was exchanged.

    Args:
        record: The record with the other thing, under the same key, and without words about the image.
        name: Category of the thing that was exchanged; the record has none of it.
        other: Category of the thing in its place; the record before has none of it.
    """

    record: Record
    name: str
    other: str


class TwinMaker(Protocol):
    """Makes the twins of the records of a source."""

    @property
    def way(self) -> str:
        """How the twins are made: "drawn" or "pasted"."""

    def __call__(self, record: Record, rng: np.random.Generator) -> Twin | None:
        """Return the twin of a record; None if no thing in it can be exchanged.

        Args:
            record: The record as stored.
            rng: The random generator of the record.
        """
