"""A folder of runs as a table with means and intervals, and as pictures."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from rich.console import Console

from lasagna import markdown
from lasagna.errors import LasagnaError
from lasagna.html_page import to_page
from lasagna.sweeps.findings import Claim, describe, differences
from lasagna.sweeps.intervals import Interval, mean_interval
from lasagna.sweeps.length_plot import draw_by_length
from lasagna.sweeps.plots import draw_scores
from lasagna.sweeps.runs import RunScores, collect_runs


class ReportError(LasagnaError, ValueError):
    """A folder that there is nothing to report of."""


def report(
    folder: Path,
    out: Path | None = None,
    metrics: list[str] | None = None,
    stage: str = "test",
    confidence: float = 0.95,
    baseline: str | None = None,
    claims: list[Claim] | None = None,
) -> None:
    """Turn a folder of runs into report.md, report.html, report.csv, scores.png and by_length.png.

    Args:
        folder: Searched for ``scores.json``, at any depth; the folder above a run's ``seed_<n>`` is its variant.
        out: Where the report goes; by default the folder itself.
        metrics: Only scores whose names contain one of these; by default all.
        stage: Which part of the scores: test, validate or fit.
        confidence: Of the intervals over seeds (Student's t), in (0, 1).
        baseline: The variant that the others are compared with, seed by seed; by default nothing is compared.
        claims: What variants are expected to show against the baseline; the report says which of it holds.

    Raises:
        ReportError: If no run has such scores, confidence is out of range, or there is no such baseline.
    """
    if not 0 < confidence < 1:
        raise ReportError(f"confidence: expected a number between 0 and 1, such as 0.95, got {confidence}")
    runs, unread = collect_runs(folder, stage)
    table = tabulate(runs, metrics, confidence)
    if not table:
        raise ReportError(f"{folder}: no scores of {stage!r} found; unread: {unread or 'nothing'}")
    findings = _findings(runs, list(table), baseline, claims or [], confidence)
    out = out or folder
    out.mkdir(parents=True, exist_ok=True)
    text = findings + to_markdown(table, unread, confidence)
    (out / "report.md").write_text(text, encoding="utf-8")
    _write_csv(out / "report.csv", table)
    drawn = {"by_length.png": draw_by_length(table, out / "by_length.png")}
    drawn["scores.png"] = draw_scores(table, out / "scores.png", _values(runs))
    pictures = [name for name, there in drawn.items() if there]
    (out / "report.html").write_text(to_page(folder.name, text, pictures, out), encoding="utf-8")
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    names = ["report.md", "report.html", "report.csv", *pictures]
    Console().print(f"written to {out}: {', '.join(names)}", highlight=False, soft_wrap=True)


def _findings(
    runs: list[RunScores], scores: list[str], baseline: str | None, claims: list[Claim], confidence: float
) -> str:
    if baseline is None:
        return ""
    variants = sorted({run.variant for run in runs})
    if baseline not in variants:
        raise ReportError(f"baseline: no run is of {baseline!r}; there are {', '.join(variants)}")
    values: dict[str, dict[str, dict[int, float]]] = {score: {} for score in scores}
    for run in runs:
        for score in (score for score in run.scores if score in values and run.seed is not None):
            values[score].setdefault(run.variant, {})[run.seed or 0] = run.scores[score]
    return describe(differences(values, baseline, confidence), claims, baseline, confidence) + "\n## Scores\n\n"


Tabulated = dict[str, dict[str, Interval]]
"""Metric to variant to mean."""


def tabulate(runs: list[RunScores], metrics: list[str] | None = None, confidence: float = 0.95) -> Tabulated:
    """Return the mean over the seeds for each metric and variant."""
    values = _values(runs)
    chosen = [name for name in values if metrics is None or any(part in name for part in metrics)]
    return {
        name: {variant: mean_interval(list(seeds.values()), confidence) for variant, seeds in values[name].items()}
        for name in chosen
    }


def _values(runs: list[RunScores]) -> dict[str, dict[str, dict[str, float]]]:
    values: dict[str, dict[str, dict[str, float]]] = {}
    for run in runs:
        for name, value in run.scores.items():
            values.setdefault(name, {}).setdefault(run.variant, {})[run.name] = value
    return dict(sorted(values.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts 4 before 16."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def to_markdown(scores: Tabulated, unread: dict[str, str], confidence: float) -> str:
    """Return the report as Markdown: one row a metric, one column a variant, and what could not be read."""
    variants = list(dict.fromkeys(variant for row in scores.values() for variant in row))
    rows = [[name, *(_cell(row[one]) if one in row else "" for one in variants)] for name, row in scores.items()]
    lines = [*markdown.table(["score", *variants], rows), ""]
    lines.append(f"Mean ± half width of the {confidence:.0%} t-interval over seeds (number of runs).")
    if unread:
        lines += ["", "Not in the table:", "", *(f"- {file}: {reason}" for file, reason in unread.items())]
    return "\n".join(lines) + "\n"


def _cell(interval: Interval) -> str:
    width = f" ± {interval.half_width:.4f}" if interval.count > 1 else ""
    return f"{interval.mean:.4f}{width} ({interval.count})"


def _write_csv(file: Path, table: Tabulated) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["score", "variant", "runs", "mean", "half_width"])
        for name, row in table.items():
            for variant, interval in row.items():
                width = interval.half_width if interval.count > 1 else ""
                writer.writerow([name, variant, interval.count, interval.mean, width])
