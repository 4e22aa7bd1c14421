"""All pictures of a report, drawn beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lasagna.evaluating.pictures import draw_cases, draw_categories, draw_decisions, draw_presence
from lasagna.evaluating.predictions import read_lines
from lasagna.evaluating.scoring import Outcome


@dataclass
class Figures:
    """File names of the pictures that there are.

    Args:
        presence: Recall and false-positive rate of all passes.
        reliability: What presence scores mean.
        categories: Name of a pass to the IoU of its categories.
        answers: Name of a pass to its best, middle and worst answer.
    """

    presence: str | None = None
    reliability: str | None = None
    categories: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)


def draw_figures(outcomes: Sequence[Outcome], out: Path, predictions: Path) -> Figures:
    """Draw all pictures.

    Args:
        outcomes: What came of each pass.
        out: The folder of the report.
        predictions: The folder of the answers.
    """
    lines, drawn = read_lines(predictions), Figures()
    drawn.presence = "presence.png" if draw_presence(outcomes, out / "presence.png") else None
    plain = [outcome for outcome in outcomes if outcome.one.is_plain]
    drawn.reliability = "reliability.png" if draw_decisions(plain, out / "reliability.png") else None
    for rank, outcome in enumerate(plain):
        name = outcome.one.name
        stem = f"{rank:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}"
        if draw_categories(outcome, out / f"{stem}-categories.png"):
            drawn.categories[name] = f"{stem}-categories.png"
        if draw_cases(outcome, lines, predictions, out / f"{stem}-answers.png"):
            drawn.answers[name] = f"{stem}-answers.png"
    return drawn
