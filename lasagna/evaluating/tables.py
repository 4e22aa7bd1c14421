"""The words and tables of a report, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lasagna.evaluating.pictures import presence_rates
from lasagna.evaluating.scoring import Outcome
from lasagna.tasks.metrics import PROTOCOLS, quantity_of

_MOST = 12


def to_markdown(outcomes: Sequence[Outcome], header: Mapping[str, Any]) -> str:
    """Return the report without its pictures.

    Args:
        outcomes: What came of each pass.
        header: What was asked.
    """
    plain = [outcome for outcome in outcomes if outcome.one.is_plain]
    parts = [*_facts(outcomes, header), "## Scores", "", *_scores(plain)]
    parts += ["", "## Does it look? Presence with and without the picture", "", *_presence(outcomes)]
    for outcome in plain:
        parts += _confusion(outcome)
    parts += ["", "## Faults of answers", "", *_faults(outcomes), "", "## Protocols", "", *_protocols(outcomes)]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(header["versions"].items()))
    return "\n".join([*parts, "", "## Versions", "", f"{versions}.", ""])


def _facts(outcomes: Sequence[Outcome], header: Mapping[str, Any]) -> list[str]:
    records = ", ".join(f"{outcome.one.name} {outcome.records}" for outcome in outcomes if outcome.one.is_plain)
    limit = "" if header["limit"] is None else f" (at most {header['limit']} of each source were asked about)"
    cuts = header["thresholds"]
    return [
        f"- Checkpoint: {_plain(header['checkpoint'])}, weights {header['weights']}",
        f"- Split {header['split']}, records: {records}{limit}",
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


def _scores(outcomes: Sequence[Outcome]) -> list[str]:
    keys = sorted({key for outcome in outcomes for key in outcome.scores if not key.startswith("faults/")})
    rows = []
    for key in keys:
        arrow = "↑" if _higher(key) else "↓"
        values = [_number(outcome.scores.get(key, math.nan)) for outcome in outcomes]
        if any(value != "-" for value in values):
            rows.append([f"{key} {arrow}", *values])
    return _table(["score", *(outcome.one.name for outcome in outcomes)], rows)


def _presence(outcomes: Sequence[Outcome]) -> list[str]:
    rows = []
    for outcome in outcomes:
        if (rates := presence_rates(outcome)) is not None:
            names = sum(map(sum, outcome.presence.values()))
            gap = rates[0] - rates[1]
            rows.append([outcome.one.name, str(names), *map(_number, (*rates, gap))])
    text = (
        "Recall and false-positive rate are the shares of names called present, of those that are there and of those "
        "that are not. Blind: the picture is noise. Same-set and co-occurring: as many absent names as present ones, "
        "drawn from the data set, or those likeliest beside the present ones. What a blind model reaches, words alone "
        "give; what counts is the difference to it."
    )
    head = ["asked of", "names", "recall ↑", "false-positive rate ↓", "difference ↑"]
    return [text, "", *_table(head, rows)] if rows else ["No lists of names were asked."]


def _confusion(outcome: Outcome) -> list[str]:
    if not outcome.presence:
        return []
    wrong = {name: counts for name, counts in outcome.presence.items() if counts[1] or counts[2]}
    order = sorted(wrong, key=lambda name: (-wrong[name][1] - wrong[name][2], name))[:_MOST]
    totals = [sum(column) for column in zip(*outcome.presence.values(), strict=True)]
    rows = [["all names", *map(str, totals)], *([name, *map(str, wrong[name])] for name in order)]
    head = ["name", "there, called present", "not there, called present", "there, missed", "not there, not called"]
    pairs = [[one, other, str(count)] for (one, other), count in outcome.confused.most_common(_MOST)]
    parts = ["", f"## Confusion of presence: {_plain(outcome.one.name)}", "", *_table(head, rows)]
    return parts + (["", *_table(["missed", "called present instead", "answers"], pairs)] if pairs else [])


def _faults(outcomes: Sequence[Outcome]) -> list[str]:
    rows = [
        [outcome.one.name, decoding, fault, str(count)]
        for outcome in outcomes
        for (decoding, fault), count in sorted(outcome.faults.items())
    ]
    return _table(["asked of", "decoding", "fault", "how often"], rows) if rows else ["No answer had a fault."]


def _protocols(outcomes: Sequence[Outcome]) -> list[str]:
    used = sorted({key.split("/")[1] for outcome in outcomes for key in outcome.scores if "/" in key})
    return [f"- **{name}**: {PROTOCOLS.get(name, 'a rule of the task that was evaluated')}" for name in used]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(map(_plain, head)) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(map(_plain, row)) + " |" for row in rows]


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _higher(key: str) -> bool:
    try:
        return quantity_of(key).higher_is_better
    except KeyError:
        return True
