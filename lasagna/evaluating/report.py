"""What an evaluation leaves behind: ``scores.json``, ``report.html``, ``report.md`` and the pictures beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lasagna.evaluating.pictures import draw_cases, draw_categories, draw_decisions, draw_presence
from lasagna.evaluating.predictions import read_lines
from lasagna.evaluating.scoring import Outcome
from lasagna.evaluating.tables import to_markdown
from lasagna.html_page import to_page
from lasagna.tasks.run_facts import write_json
from lasagna.tasks.run_summary import SCORES, print_scores

TITLE = "Evaluation"


def write_report(outcomes: Sequence[Outcome], header: Mapping[str, Any], out: Path, predictions: Path) -> None:
    """Write and print what came of an evaluation.

    Args:
        outcomes: What came of each pass.
        header: What was asked.
        out: The folder of the report.
        predictions: The folder of the answers.
    """
    out.mkdir(parents=True, exist_ok=True)
    scores = named_scores(outcomes, header["split"])
    write_json(out / SCORES, _content(outcomes, header, scores))
    pictures = _pictures(outcomes, out, predictions)
    text = to_markdown(outcomes, header)
    shown = "".join(f"\n![{name}]({name})\n" for name in pictures)
    (out / "report.md").write_text(f"# {TITLE}\n\n{text}{shown}", encoding="utf-8")
    (out / "report.html").write_text(to_page(TITLE, text, pictures), encoding="utf-8")
    plain = named_scores([outcome for outcome in outcomes if outcome.one.is_plain], header["split"])
    print_scores("evaluation", {name: value for name, value in plain.items() if not math.isnan(value)})
    print(f"written to {out}: report.html, report.md, {SCORES}, {', '.join(pictures)}")


def named_scores(outcomes: Sequence[Outcome], split: str) -> dict[str, float]:
    """Return all scores as split/pass/key."""
    return {f"{split}/{outcome.one.name}/{key}": value for outcome in outcomes for key, value in outcome.scores.items()}


def _content(outcomes: Sequence[Outcome], header: Mapping[str, Any], scores: Mapping[str, float]) -> dict[str, Any]:
    finite = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    records = {outcome.one.name: outcome.records for outcome in outcomes}
    about = {name: header[name] for name in ("checkpoint", "weights", "seed", "limit", "thresholds", "versions")}
    return about | {"seeds": {"data": header["seed"]}, "stages": {"test": {"scores": finite, "records": records}}}


def _pictures(outcomes: Sequence[Outcome], out: Path, predictions: Path) -> list[str]:
    lines, drawn = read_lines(predictions), []
    if draw_presence(outcomes, out / "presence.png"):
        drawn.append("presence.png")
    plain = [outcome for outcome in outcomes if outcome.one.is_plain]
    if draw_decisions(plain, out / "reliability.png"):
        drawn.append("reliability.png")
    for rank, outcome in enumerate(plain):
        name = f"{rank:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', outcome.one.name)}"
        if draw_categories(outcome, out / f"{name}-categories.png"):
            drawn.append(f"{name}-categories.png")
        if draw_cases(outcome, lines, predictions, out / f"{name}-answers.png"):
            drawn.append(f"{name}-answers.png")
    return drawn
