"""One answer with what it was about and what was right, or what is annotated on an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lasagna.core.dialogue import AnsweredEntry


@dataclass(frozen=True)
class Case:
    """One answer on a contact sheet.

    Args:
        image: uint8 ``[H, W, 3]``.
        query: The query or question.
        entries: The assistant's entries, in the order answered.
        text: The assistant's answer in words (questions).
        truth: The right entries, or None if they are not known.
        truth_text: The right answer in words (questions).
        note: A remark beside the query, e.g. where the image comes from.
        annotated: Whether the entries are annotations: nobody answered, and there are no probabilities.
    """

    image: NDArray[np.uint8]
    query: str
    entries: Sequence[AnsweredEntry]
    text: str = ""
    truth: Sequence[AnsweredEntry] | None = None
    truth_text: str = ""
    note: str = ""
    annotated: bool = False

    def wrong(self) -> set[str]:
        """Return the names whose presence was decided wrongly."""
        right = {entry.name: entry.present for entry in self.truth or ()}
        return {entry.name for entry in self.entries if right.get(entry.name, entry.present) != entry.present}
