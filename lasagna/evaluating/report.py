"""What an evaluation leaves behind: ``scores.json``, ``report.html``, ``report.md`` and the pictures of the latter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lasagna.core.pages import to_page
from lasagna.evaluating.figures import draw_figures
from lasagna.evaluating.scoring import Outcome
from lasagna.evaluating.tables import to_markdown
from lasagna.tasks.callbacks.run_facts import write_json
from lasagna.tasks.callbacks.summary import SCORES, print_scores

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
    text = to_markdown(outcomes, header, draw_figures(outcomes, out, predictions))
    (out / "report.md").write_text(f"# {TITLE}\n\n{text}", encoding="utf-8")
    (out / "report.html").write_text(to_page(TITLE, text, folder=out), encoding="utf-8")
    plain = named_scores([outcome for outcome in outcomes if outcome.one.is_plain], header["split"])
    print_scores("evaluation", {name: value for name, value in plain.items() if not math.isnan(value)})
    print(f"written to {out}: report.html, report.md and their pictures, {SCORES}")


def named_scores(outcomes: Sequence[Outcome], split: str) -> dict[str, float]:
    """Return all scores as split/pass/key."""
    return {f"{split}/{outcome.one.name}/{key}": value for outcome in outcomes for key, value in outcome.scores.items()}


def _content(outcomes: Sequence[Outcome], header: Mapping[str, Any], scores: Mapping[str, float]) -> dict[str, Any]:
    finite = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    records = {outcome.one.name: outcome.records for outcome in outcomes}
    about = {name: header[name] for name in ("checkpoint", "weights", "seed", "limit", "thresholds", "versions")}
    return about | {"seeds": {"data": header["seed"]}, "stages": {"test": {"scores": finite, "records": records}}}
