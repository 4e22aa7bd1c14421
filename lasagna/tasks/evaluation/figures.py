"""The figures of a report: answers, IoU of categories, presence and calibration."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.tasks.evaluation.calibration import draw_reliability
from lasagna.tasks.evaluation.counterfactual import COUNTERFACTUAL
from lasagna.tasks.evaluation.example_figures import draw_examples, draw_pairs
from lasagna.tasks.evaluation.predictions import read_lines
from lasagna.tasks.evaluation.scoring import EvaluationResult

_MOST_CATEGORIES = 60


def draw_categories(result: EvaluationResult, picture: Path) -> bool:
    """Draw the IoU of each category, the worst at the top; return whether there are any."""
    values = {name: value for name, value in result.categories.items() if not math.isnan(value)}
    if not values:
        return False
    order = sorted(values, key=lambda name: values[name])[:_MOST_CATEGORIES]
    figure = new_figure(6.0, 0.8 + 0.2 * len(order))
    which = "each category" if len(order) == len(values) else f"the {len(order)} worst of {len(values)} categories"
    axes = style_axes(figure.add_subplot(), f"{result.run.name}: IoU of {which} (lasagna-v1)")
    bars = axes.barh(range(len(order)), [values[name] for name in order])
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, color="0.35")
    axes.set_yticks(range(len(order)), [name[:40] for name in order])
    axes.set_xlim(0, 1.08)
    axes.invert_yaxis()
    save(figure, picture)
    return True


def draw_presence(results: Sequence[EvaluationResult], picture: Path) -> bool:
    """Draw recall and false-positive rate of each run; return whether there are any.

    They are far apart if the model uses the image. If it uses only the words, they meet on the control lists, and
    replacing the images by noise makes no difference.
    """
    rows = {result.run.name: rates for result in results if (rates := presence_rates(result))}
    if not rows:
        return False
    figure = new_figure(6.5, 1.3 + 0.28 * len(rows))
    axes = style_axes(figure.add_subplot(), "share of names called present")
    heights = list(range(len(rows)))
    recall, alarms = zip(*rows.values(), strict=True)
    axes.hlines(heights, alarms, recall, color="0.8", linewidth=3, zorder=1)
    axes.plot(recall, heights, "o", color="C0", label="present (recall)")
    axes.plot(alarms, heights, "X", color="C3", label="absent (false-positive rate)")
    axes.set_yticks(heights, list(rows))
    axes.set_xlim(-0.03, 1.03)
    axes.invert_yaxis()
    figure.legend(fontsize=8, loc="outside lower center", ncols=2, frameon=False)
    save(figure, picture)
    return True


def draw_decisions(results: Sequence[EvaluationResult], picture: Path) -> bool:
    """Draw a reliability diagram of presence scores for each run; return whether there are any."""
    decisions = {
        result.run.name: (
            np.array([score for score, _ in result.decisions]),
            np.array([present for _, present in result.decisions]),
        )
        for result in results
        if result.decisions
    }
    if decisions:
        draw_reliability(decisions, picture)
    return bool(decisions)


def presence_rates(result: EvaluationResult) -> tuple[float, float] | None:
    """Return the shares of present and of absent names that are called present; None if no names are asked for."""
    if not result.presence:
        return None
    hits, alarms, misses, rejections = (sum(column) for column in zip(*result.presence.values(), strict=True))
    present, absent = hits + misses, alarms + rejections
    return (hits / present if present else math.nan, alarms / absent if absent else math.nan)


@dataclass
class Figures:
    """File names of the figures that were drawn.

    Args:
        presence: Recall and false-positive rate of all runs.
        reliability: Reliability diagram of presence scores.
        categories: Name of a run to the IoU of its categories.
        answers: Name of a run to its best, median and worst answer.
        pairs: Name of a run over pairs of image and twin to the pairs with the best, median and worst answers.
    """

    presence: str | None = None
    reliability: str | None = None
    categories: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)


def draw_figures(results: Sequence[EvaluationResult], out: Path, predictions: Path) -> Figures:
    """Draw all figures.

    Args:
        results: The results of all runs.
        out: The folder of the report.
        predictions: The folder of the evaluation.
    """
    lines, drawn = read_lines(predictions), Figures()
    drawn.presence = "presence.png" if draw_presence(results, out / "presence.png") else None
    plain = [result for result in results if not result.run.controls]
    drawn.reliability = "reliability.png" if draw_decisions(plain, out / "reliability.png") else None
    for rank, result in enumerate(plain):
        name, stem = result.run.name, _stem(rank, result)
        if draw_categories(result, out / f"{stem}-categories.png"):
            drawn.categories[name] = f"{stem}-categories.png"
        if draw_examples(result, lines, predictions, out / f"{stem}-answers.png"):
            drawn.answers[name] = f"{stem}-answers.png"
    paired = [result for result in results if COUNTERFACTUAL in result.run.controls]
    for rank, result in enumerate(paired):
        picture = f"{_stem(rank, result)}-pairs.png"
        if draw_pairs(result, lines, predictions, out / picture):
            drawn.pairs[result.run.name] = picture
    return drawn


def _stem(rank: int, result: EvaluationResult) -> str:
    return f"{rank:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', result.run.name)}"
