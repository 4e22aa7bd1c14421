"""The report of a folder of runs: a table of means with intervals, findings and plots."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from lasagna.cli.sweeps.findings import Claim, describe, differences
from lasagna.cli.sweeps.intervals import Interval, mean_interval
from lasagna.cli.sweeps.plan import MARKER
from lasagna.cli.sweeps.plots import draw_by_length, draw_scores
from lasagna.core import pages
from lasagna.core.storage import check_output, whole_file, write_text
from lasagna.errors import LasagnaError

SCORES = "scores.json"

_SEED_FOLDER = re.compile(r"seed_\d+")
_UNKNOWN = -1
"""Stands for the seed of a run that does not tell it, so that such runs are compared with each other."""


@dataclass(frozen=True)
class RunScores:
    """The scores of one run.

    Args:
        name: Its folder, relative to the folder of all runs.
        variant: Name of the variant; runs of a variant differ only in the seed.
        scores: Value of each metric; values that are not finite are left out.
        seed: The seed by the name of its folder or, without one, by its scores; None if neither says.
    """

    name: str
    variant: str
    scores: dict[str, float]
    seed: int | None = None


def collect_runs(folder: Path, stage: str) -> tuple[list[RunScores], dict[str, str]]:
    """Find the runs in a folder.

    Args:
        folder: Folder to search, at any depth.
        stage: Stage of the scores: test, validate or fit.

    Returns:
        The runs, and the reason for each file that cannot be used.
    """
    places = sorted({file.parent for name in (SCORES, MARKER) for file in folder.rglob(name)})
    runs: list[RunScores] = []
    unread: dict[str, str] = {}
    for place in places:
        name = place.relative_to(folder).as_posix()
        seed = int(place.name.removeprefix("seed_")) if _SEED_FOLDER.fullmatch(place.name) else None
        parent = place if seed is None else place.parent
        # the folder of all runs may itself be a seed's
        variant = parent.relative_to(folder).as_posix() if parent.is_relative_to(folder) else parent.name
        try:
            scores, own = _scores(place, stage)
            seed = own if seed is None else seed
            runs.append(RunScores(name, folder.name if variant == "." else variant, scores, seed))
        except (OSError, ValueError) as error:
            unread[f"{name}/{SCORES}"] = str(error)
    return runs, unread


def _scores(place: Path, stage: str) -> tuple[dict[str, float], int | None]:
    """Return the scores of a run, and its seed if they tell it."""
    file = place / SCORES
    status = _status(place)
    if status not in (None, "finished"):
        raise ValueError(f"the run is not finished but {status}")
    if not file.is_file():
        raise ValueError("there is none")
    content = json.loads(file.read_text(encoding="utf-8"))
    found: Any = content.get("stages", {}) if isinstance(content, dict) else None
    scores = found.get(stage, {}).get("scores") if isinstance(found, dict) else None
    if not isinstance(scores, dict):
        raise ValueError(f"it has no scores of {stage!r}")
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    seeds = content.get("seeds")
    seed = seeds.get("everything") if isinstance(seeds, dict) else None
    finite = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
    return finite, seed if isinstance(seed, int) else None


def _status(place: Path) -> str | None:
    file = place / MARKER
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    return str(content.get("status")) if isinstance(content, dict) else "of unknown state"


class ReportError(LasagnaError, ValueError):
    """A folder without scores to report, or a report that cannot be made from them."""


def report(
    folder: Path,
    out: Path | None = None,
    metrics: list[str] | None = None,
    stage: str = "test",
    confidence: float = 0.95,
    baseline: str | None = None,
    claims: list[Claim] | None = None,
) -> None:
    """Write report.md, report.html, report.csv, scores.png and by_length.png of a folder of runs.

    Args:
        folder: Folder to search for ``scores.json``, at any depth; the folder above a run's ``seed_<n>`` is its
            variant.
        out: Folder of the report; by default the same folder.
        metrics: Parts of names; only scores whose names contain one of them are reported. By default all are.
        stage: Stage of the scores: test, validate or fit.
        confidence: Confidence of the intervals over seeds (Student's t), in (0, 1).
        baseline: Variant to compare the others with, seed by seed; by default nothing is compared.
        claims: Expected differences of variants from the baseline; the report says which ones hold.

    Raises:
        ReportError: If no run has such scores, the confidence is out of range, or the baseline does not exist.
    """
    if not 0 < confidence < 1:
        raise ReportError(f"confidence: expected a number between 0 and 1, such as 0.95, got {confidence}")
    out = out or folder
    check_output(out)
    runs, unread = collect_runs(folder, stage)
    table = tabulate(runs, metrics, confidence)
    if not table:
        raise ReportError(f"{folder}: no scores of {stage!r} found; unread: {unread or 'nothing'}")
    findings = _findings(runs, list(table), baseline, claims or [], confidence)
    text = findings + to_markdown(table, unread, confidence)
    write_text(out / "report.md", text)
    _write_csv(out / "report.csv", table)
    drawn = {"by_length.png": draw_by_length(table, out / "by_length.png")}
    drawn["scores.png"] = draw_scores(table, out / "scores.png", _values(runs))
    pictures = [name for name, there in drawn.items() if there]
    write_text(out / "report.html", pages.to_page(folder.name, text, pictures, out))
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
        raise ReportError(f"baseline: no runs of {baseline!r}; choose one of {', '.join(variants)}")
    values: dict[str, dict[str, dict[int, float]]] = {score: {} for score in scores}
    for run in runs:
        for score in (score for score in run.scores if score in values):
            values[score].setdefault(run.variant, {})[_UNKNOWN if run.seed is None else run.seed] = run.scores[score]
    found = differences(values, baseline, confidence)
    text = describe(found, claims, baseline, confidence)
    if apart := sorted(set(variants) - {baseline} - {one.variant for one in found}):
        text += f"\nNot compared, since no seed of theirs has a score in common with {baseline}: {', '.join(apart)}.\n"
    return text + "\n## Scores\n\n"


Tabulated = dict[str, dict[str, Interval]]
"""Metric to variant to mean."""


def tabulate(runs: list[RunScores], metrics: list[str] | None = None, confidence: float = 0.95) -> Tabulated:
    """Return the mean over the seeds for each metric and variant.

    Args:
        runs: The runs.
        metrics: Parts of names of the metrics to keep; None for all.
        confidence: Confidence of the intervals, in (0, 1).
    """
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

    def natural(name: str) -> list[tuple[int, str]]:
        # sorts 4 before 16
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]

    return {name: values[name] for name in sorted(values, key=natural)}


def to_markdown(scores: Tabulated, unread: dict[str, str], confidence: float) -> str:
    """Return the table as Markdown, one row per metric and one column per variant, and the files not in it.

    Args:
        scores: Metric to variant to mean.
        unread: File to the reason why it is not in the table.
        confidence: Confidence of the intervals, in (0, 1).
    """
    variants = list(dict.fromkeys(variant for row in scores.values() for variant in row))
    rows = []
    for name, means in scores.items():
        cells = dict.fromkeys(variants, "")
        for variant, mean in means.items():
            width = f" ± {mean.half_width:.4f}" if mean.count > 1 else ""
            cells[variant] = f"{mean.mean:.4f}{width} ({mean.count})"
        rows.append([name, *cells.values()])
    lines = [*pages.table(["score", *variants], rows), ""]
    lines.append(f"Mean ± half width of the {confidence:.0%} t-interval over seeds (number of runs).")
    if unread:
        lines += ["", "Not in the table:", "", *(f"- {file}: {pages.plain(reason)}" for file, reason in unread.items())]
    return "\n".join(lines) + "\n"


def _write_csv(file: Path, table: Tabulated) -> None:
    with whole_file(file) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["score", "variant", "runs", "mean", "half_width"])
        for name, row in table.items():
            for variant, interval in row.items():
                width = interval.half_width if interval.count > 1 else ""
                writer.writerow([name, variant, interval.count, interval.mean, width])
