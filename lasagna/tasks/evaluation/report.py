"""The words, tables and pictures of a report, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lasagna.core.pages import figure, number, plain, table, to_page
from lasagna.tasks.callbacks.run_facts import write_json
from lasagna.tasks.callbacks.summary import SCORES, print_scores
from lasagna.tasks.evaluation.figures import Figures, draw_figures, presence_rates
from lasagna.tasks.evaluation.scoring import EvaluationResult
from lasagna.tasks.metrics import PROTOCOLS, Quantity, quantity_of

MAIN = (
    *("miou/lasagna-v1", "presence_f1/lasagna-v1", "false_positive_rate/lasagna-v1", "giou/grefcoco", "n_acc/grefcoco"),
    *("giou/lisa", "ciou/lisa", "giou/teacher-forced", "ciou/teacher-forced", "vqa_accuracy/lasagna-v1"),
)
"""The scores that are shown first, in this order."""

_FIRST = ("miou", "giou", "ciou", "presence_f1", "vqa_accuracy")


def main_scores(outcomes: Sequence[EvaluationResult]) -> list[str]:
    """Return a row for each source, in a table with those that have the same scores; of the first way of decoding."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for outcome in outcomes:
        keys = tuple(key for key in MAIN if _main(outcome, key) is not None)
        row = [outcome.one.name, str(outcome.records)]
        groups.setdefault(keys, []).append(row + [number(outcome.scores[str(_main(outcome, key))]) for key in keys])
    tables = [
        table(["asked of", "records", *(f"{key} {arrow(key)}" for key in keys)], rows) for keys, rows in groups.items()
    ]
    return [line for rank, lines in enumerate(tables) for line in ([""] if rank else []) + lines]


def all_scores(outcome: EvaluationResult) -> list[str]:
    """Return a table with a row for each score of a source, and a column for each way of decoding."""
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for key, value in outcome.scores.items():
        if not math.isnan(value) and not key.startswith("faults/"):
            quantity, protocol, part, way = _apart(key)
            values.setdefault((quantity, protocol, part), {})[way] = value
    used = {way for found in values.values() for way in found}
    ways = [way for way in ("ordered", "free", "teacher_forced") if way in used]
    head = ["score", "protocol", *(ways if len(ways) > 1 else ["value"]), "what it is"]
    rows = [
        [
            f"{quantity} {part} {arrow(quantity)}",
            protocol,
            *(number(values[quantity, protocol, part].get(way, math.nan)) for way in ways),
            _quantity(quantity).text,
        ]
        for quantity, protocol, part in sorted(values, key=_place)
    ]
    return table(head, rows)


def arrow(key: str) -> str:
    """Return the direction of a score."""
    return "↑" if _quantity(key).higher_is_better else "↓"


def _main(outcome: EvaluationResult, key: str) -> str | None:
    """Return the key that a main score has in a source, or None."""
    return next((known for known in (key, f"{key}/free") if known in outcome.scores), None)


def _apart(key: str) -> tuple[str, str, str, str]:
    """Return quantity, protocol, part and way of decoding of a key."""
    quantity, protocol, *parts = key.split("/")
    free = parts[:1] == ["free"]
    way = "free" if free else "teacher_forced" if protocol == "teacher-forced" else "ordered"
    return quantity, protocol, " ".join(parts[free:]), way


def _place(row: tuple[str, str, str]) -> tuple[int, int, str, str]:
    quantity, protocol, part = row
    known = list(PROTOCOLS)
    first = _FIRST.index(quantity) if quantity in _FIRST else len(_FIRST)
    return known.index(protocol) if protocol in known else len(known), first, quantity, part


def _quantity(key: str) -> Quantity:
    # a task of one's own may measure what is not listed
    try:
        return quantity_of(key)
    except KeyError:
        return Quantity("")


_MOST = 12


def to_markdown(outcomes: Sequence[EvaluationResult], header: Mapping[str, Any], figures: Figures) -> str:
    """Return the report: what was asked, the main scores, a section for each source, and what concerns all.

    Args:
        outcomes: What came of each pass.
        header: What was asked.
        figures: The pictures.
    """
    asked = [outcome for outcome in outcomes if outcome.one.is_plain]
    parts = [*_facts(header), "## Scores", "", *main_scores(asked)]
    for outcome in asked:
        parts += _section(outcome, figures)
    parts += ["", "## Does it look? Presence with and without the picture", "", *_presence(outcomes, figures)]
    parts += ["", "## Faults of answers", "", *_faults(outcomes), "", "## Protocols", "", *_protocols(outcomes)]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(header["versions"].items()))
    return "\n".join([*parts, "", "## Versions", "", f"{versions}.", ""])


def _facts(header: Mapping[str, Any]) -> list[str]:
    limit = "" if header["limit"] is None else f", at most {header['limit']} records of each source"
    cuts = header["thresholds"]
    return [
        f"- Checkpoint: {plain(header['checkpoint'])}, weights {header['weights']}",
        f"- Split {header['split']}{limit}; answered on {header['device']}",
        f"- Seed {header['seed']}; threshold of masks {cuts['mask']}; of presence {_cuts(cuts['presence'])}, at "
        f"temperature {cuts.get('temperature', 1.0):.3g}",
        "- Answers are generated, and nothing of the right answer is given to the model"
        + (", but for the scores of protocol teacher-forced." if header.get("teacher_forced") else "."),
        "",
    ]


def _cuts(thresholds: float | Mapping[str, float]) -> str:
    # evaluations of earlier versions have one threshold for all
    each = {"all": thresholds} if isinstance(thresholds, float) else thresholds
    values = sorted(set(each.values()))
    return f"{values[0]:.3g}" if len(values) == 1 else ", ".join(f"{name} {each[name]:.3g}" for name in sorted(each))


def _section(outcome: EvaluationResult, figures: Figures) -> list[str]:
    """Return what there is to say about one source."""
    name = plain(outcome.one.name)
    parts = ["", f"## {name}", "", *all_scores(outcome)]
    if outcome.one.name in figures.answers:
        caption = "The best, the median and the worst answer, by the mean IoU of what is there or called present"
        parts += figure(figures.answers[outcome.one.name], f"{caption} (questions: by being right)")
    if outcome.one.name in figures.categories:
        parts += figure(figures.categories[outcome.one.name], "IoU of each category, the worst on top")
    return parts + _confusion(outcome, name)


def _confusion(outcome: EvaluationResult, name: str) -> list[str]:
    if not outcome.presence:
        return []
    wrong = {asked: counts for asked, counts in outcome.presence.items() if counts[1] or counts[2]}
    order = sorted(wrong, key=lambda asked: (-wrong[asked][1] - wrong[asked][2], asked))[:_MOST]
    totals = [sum(column) for column in zip(*outcome.presence.values(), strict=True)]
    rows = [["all names", *map(str, totals)], *([asked, *map(str, wrong[asked])] for asked in order)]
    head = ["name", "there, called present", "not there, called present", "there, missed", "not there, not called"]
    pairs = [[one, other, str(count)] for (one, other), count in outcome.confused.most_common(_MOST)]
    parts = ["", f"### Confusion of presence: {name}", "", _told(len(wrong)), "", *table(head, rows)]
    return parts + (["", *table(["missed", "called present instead", "answers"], pairs)] if pairs else [])


def _told(wrong: int) -> str:
    if not wrong:
        return "No name was decided wrongly."
    return f"{wrong} names were decided wrongly somewhere" + (f"; the {_MOST} worst:" if wrong > _MOST else ":")


def _presence(outcomes: Sequence[EvaluationResult], figures: Figures) -> list[str]:
    rows = []
    for outcome in outcomes:
        if (rates := presence_rates(outcome)) is not None:
            names = sum(map(sum, outcome.presence.values()))
            rows.append([outcome.one.name, str(names), *map(number, (*rates, rates[0] - rates[1]))])
    if not rows:
        return ["No lists of names were asked."]
    text = (
        "Recall and false-positive rate are the shares of names called present, of those that are there and of those "
        "that are not. Blind: the picture is noise. Same-set and co-occurring: as many absent names as present ones, "
        "drawn from the data set, or those likeliest beside the present ones. What a blind model reaches, words alone "
        "give; what counts is the difference to it."
    )
    parts = [text, "", *table(["asked of", "names", "recall ↑", "false-positive rate ↓", "difference ↑"], rows)]
    if figures.presence:
        parts += figure(figures.presence, "What lies further apart than it does blind comes of looking")
    if figures.reliability:
        parts += figure(figures.reliability, "On the diagonal, scores mean what they say; larger dots: more decisions")
    return parts


def _faults(outcomes: Sequence[EvaluationResult]) -> list[str]:
    rows = [
        [outcome.one.name, decoding, fault, str(count)]
        for outcome in outcomes
        for (decoding, fault), count in sorted(outcome.faults.items())
    ]
    return table(["asked of", "decoding", "fault", "how often"], rows) if rows else ["No answer had a fault."]


def _protocols(outcomes: Sequence[EvaluationResult]) -> list[str]:
    used = sorted({key.split("/")[1] for outcome in outcomes for key in outcome.scores if "/" in key})
    return [f"- **{name}**: {PROTOCOLS.get(name, 'a rule of the task that was evaluated')}" for name in used]


TITLE = "Evaluation"


def write_report(outcomes: Sequence[EvaluationResult], header: Mapping[str, Any], out: Path, predictions: Path) -> None:
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


def named_scores(outcomes: Sequence[EvaluationResult], split: str) -> dict[str, float]:
    """Return all scores as split/pass/key."""
    return {f"{split}/{outcome.one.name}/{key}": value for outcome in outcomes for key, value in outcome.scores.items()}


def _content(
    outcomes: Sequence[EvaluationResult], header: Mapping[str, Any], scores: Mapping[str, float]
) -> dict[str, Any]:
    finite = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    records = {outcome.one.name: outcome.records for outcome in outcomes}
    about = {name: header[name] for name in ("checkpoint", "weights", "seed", "limit", "thresholds", "versions")}
    return about | {"seeds": {"data": header["seed"]}, "stages": {"test": {"scores": finite, "records": records}}}
