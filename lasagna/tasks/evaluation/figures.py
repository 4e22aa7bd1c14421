"""The pictures of a report: best, middle and worst answers, and plots of categories and of presence."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lasagna.core.plotting import dress, new_figure, save
from lasagna.datamodules.shards.codec import record_key
from lasagna.tasks.evaluation.calibration import draw_reliability
from lasagna.tasks.evaluation.predictions import StoredLines, read_lines
from lasagna.tasks.evaluation.scoring import EvaluationResult, RankedAnswer, rows_of
from lasagna.tasks.visualization.answer import truth_entries
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet

_MOST_CATEGORIES = 60


def choose(judged: Sequence[RankedAnswer]) -> dict[str, RankedAnswer]:
    """Return the best, the middle and the worst answer; fewer where there are fewer."""
    order = sorted(judged)
    if not order:
        return {}
    places = {"best": len(order) - 1, "median": (len(order) - 1) // 2, "worst": 0}
    chosen: dict[str, RankedAnswer] = {}
    for name, place in places.items():
        if order[place] not in chosen.values():
            chosen[name] = order[place]
    return chosen


def draw_cases(outcome: EvaluationResult, lines: StoredLines, folder: Path, picture: Path) -> bool:
    """Draw the best, the middle and the worst answer of a pass.

    Args:
        outcome: What came of the pass.
        lines: The stored answers.
        folder: Where they come from.
        picture: Where the PNG goes.

    Returns:
        Whether there was anything to draw.
    """
    chosen = choose(outcome.judged)
    if not chosen:
        return False
    found = _cases(outcome, chosen, lines, folder)
    contact_sheet([found[name] for name in chosen], columns=1).save(picture)
    return True


def draw_categories(outcome: EvaluationResult, picture: Path) -> bool:
    """Draw the IoU of each category, the worst on top; returns whether there are any."""
    values = {name: value for name, value in outcome.categories.items() if not math.isnan(value)}
    if not values:
        return False
    order = sorted(values, key=lambda name: values[name])[:_MOST_CATEGORIES]
    figure = new_figure(6.0, 0.8 + 0.2 * len(order))
    which = "each category" if len(order) == len(values) else f"the {len(order)} worst of {len(values)} categories"
    axes = dress(figure.add_subplot(), f"{outcome.one.name}: IoU of {which} (lasagna-v1)")
    bars = axes.barh(range(len(order)), [values[name] for name in order])
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, color="0.35")
    axes.set_yticks(range(len(order)), [name[:40] for name in order])
    axes.set_xlim(0, 1.08)
    axes.invert_yaxis()
    save(figure, picture)
    return True


def draw_presence(outcomes: Sequence[EvaluationResult], picture: Path) -> bool:
    """Draw recall and false-positive rate of each pass; returns whether there are any.

    Of a model that looks, the two lie apart; of one that goes by words, they come together on the control lists, and
    are no closer when it is blind.
    """
    rows = {outcome.one.name: rates for outcome in outcomes if (rates := presence_rates(outcome))}
    if not rows:
        return False
    figure = new_figure(6.5, 1.3 + 0.28 * len(rows))
    axes = dress(figure.add_subplot(), "share of names called present")
    heights = list(range(len(rows)))
    recall, alarms = zip(*rows.values(), strict=True)
    axes.hlines(heights, alarms, recall, color="0.8", linewidth=3, zorder=1)
    axes.plot(recall, heights, "o", color="C0", label="there (recall)")
    axes.plot(alarms, heights, "X", color="C3", label="not there (false-positive rate)")
    axes.set_yticks(heights, list(rows))
    axes.set_xlim(-0.03, 1.03)
    axes.invert_yaxis()
    figure.legend(fontsize=8, loc="outside lower center", ncols=2, frameon=False)
    save(figure, picture)
    return True


def draw_decisions(outcomes: Sequence[EvaluationResult], picture: Path) -> bool:
    """Draw how far presence scores mean what they say, for each pass; returns whether there are any."""
    found = {
        outcome.one.name: (
            np.array([score for score, _ in outcome.decisions]),
            np.array([there for _, there in outcome.decisions]),
        )
        for outcome in outcomes
        if outcome.decisions
    }
    if found:
        draw_reliability(found, picture)
    return bool(found)


def presence_rates(outcome: EvaluationResult) -> tuple[float, float] | None:
    """Return the share of names called present of those that are there and of those that are not, or None."""
    if not outcome.presence:
        return None
    hits, alarms, misses, rejections = (sum(column) for column in zip(*outcome.presence.values(), strict=True))
    there, absent = hits + misses, alarms + rejections
    return (hits / there if there else math.nan, alarms / absent if absent else math.nan)


def _cases(
    outcome: EvaluationResult, chosen: dict[str, RankedAnswer], lines: StoredLines, folder: Path
) -> dict[str, Example]:
    one, cases = outcome.one, {}
    keys = {judged.key for judged in chosen.values()}
    for raw in one.raw():
        if record_key(raw) not in keys or (asked := one.ask(raw)) is None:
            continue
        rows = rows_of(one, asked, lines[one.name, asked.record.key], folder)
        for name, judged in chosen.items():
            if judged.key == asked.record.key:
                dialogue, answers = rows[judged.row]
                answer, worded = answers[one.decodings[0]], dialogue.kind == "question"
                cases[name] = Example(
                    image=one.picture(asked.record),
                    query=", ".join(dialogue.query),
                    entries=answer.entries,
                    text=answer.text if worded else "",
                    truth=None if worded else truth_entries(dialogue),
                    truth_text=dialogue.text,
                    note=f"{name} ({judged.quality:.2f}) - {one.name} - {judged.key}",
                )
    return cases


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


def draw_figures(outcomes: Sequence[EvaluationResult], out: Path, predictions: Path) -> Figures:
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
