"""The figures of a report: best, median and worst answers, IoU of categories, presence and calibration."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.datamodules.shards.codec import record_key
from lasagna.tasks.evaluation.calibration import draw_reliability
from lasagna.tasks.evaluation.predictions import StoredLines, read_lines
from lasagna.tasks.evaluation.scoring import EvaluationResult, RankedAnswer, rows_of
from lasagna.tasks.visualization.answer import object_counts, shown_words, truth_entries
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet

_MOST_CATEGORIES = 60


def choose(answers: Sequence[RankedAnswer]) -> dict[str, RankedAnswer]:
    """Return the best, the median and the worst answer; fewer if there are fewer answers."""
    order = sorted(answers)
    places = {"best": len(order) - 1, "median": (len(order) - 1) // 2, "worst": 0} if order else {}
    chosen: dict[str, RankedAnswer] = {}
    for name, place in places.items():
        if order[place] not in chosen.values():
            chosen[name] = order[place]
    return chosen


def draw_examples(result: EvaluationResult, lines: StoredLines, folder: Path, picture: Path) -> bool:
    """Draw the best, the median and the worst answer of a run.

    Args:
        result: The result of the run.
        lines: The stored lines.
        folder: The folder of the evaluation, for messages.
        picture: The PNG file to write.

    Returns:
        Whether there are any answers.
    """
    chosen = choose(result.answers)
    if chosen:
        examples = _examples(result, chosen, lines, folder)
        contact_sheet([examples[name] for name in chosen], columns=1).save(picture)
    return bool(chosen)


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


def _examples(
    result: EvaluationResult, chosen: dict[str, RankedAnswer], lines: StoredLines, folder: Path
) -> dict[str, Example]:
    run, examples = result.run, {}
    keys = {answer.key for answer in chosen.values()}
    for raw in run.raw():
        if record_key(raw) not in keys or (sample := run.ask(raw)) is None:
            continue
        rows = rows_of(run, sample, lines[run.name, sample.record.key], folder)
        for name, ranked in chosen.items():
            if ranked.key == sample.record.key:
                dialogue, answers = rows[ranked.row]
                answer, in_words = answers[run.decodings[0]], not dialogue.kind.masks
                examples[name] = Example(
                    image=run.image(sample.record),
                    query=", ".join(dialogue.query),
                    entries=answer.entries,
                    text=shown_words(dialogue.kind, answer),
                    truth=None if in_words else truth_entries(dialogue),
                    truth_text=dialogue.text,
                    counts=object_counts(dialogue),
                    note=f"{name} ({ranked.quality:.2f}) - {run.name} - {ranked.key}",
                )
    return examples


@dataclass
class Figures:
    """File names of the figures that were drawn.

    Args:
        presence: Recall and false-positive rate of all runs.
        reliability: Reliability diagram of presence scores.
        categories: Name of a run to the IoU of its categories.
        answers: Name of a run to its best, median and worst answer.
    """

    presence: str | None = None
    reliability: str | None = None
    categories: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)


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
        name = result.run.name
        stem = f"{rank:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}"
        if draw_categories(result, out / f"{stem}-categories.png"):
            drawn.categories[name] = f"{stem}-categories.png"
        if draw_examples(result, lines, predictions, out / f"{stem}-answers.png"):
            drawn.answers[name] = f"{stem}-answers.png"
    return drawn
