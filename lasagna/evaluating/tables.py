"""The words, tables and pictures of a report, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lasagna.core.pages import figure, number, plain, table
from lasagna.evaluating.figures import Figures
from lasagna.evaluating.pictures import presence_rates
from lasagna.evaluating.score_table import all_scores, main_scores
from lasagna.evaluating.scoring import Outcome
from lasagna.tasks.metrics import PROTOCOLS

_MOST = 12


def to_markdown(outcomes: Sequence[Outcome], header: Mapping[str, Any], figures: Figures) -> str:
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


def _section(outcome: Outcome, figures: Figures) -> list[str]:
    """Return what there is to say about one source."""
    name = plain(outcome.one.name)
    parts = ["", f"## {name}", "", *all_scores(outcome)]
    if outcome.one.name in figures.answers:
        caption = "The best, the median and the worst answer, by the mean IoU of what is there or called present"
        parts += figure(figures.answers[outcome.one.name], f"{caption} (questions: by being right)")
    if outcome.one.name in figures.categories:
        parts += figure(figures.categories[outcome.one.name], "IoU of each category, the worst on top")
    return parts + _confusion(outcome, name)


def _confusion(outcome: Outcome, name: str) -> list[str]:
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


def _presence(outcomes: Sequence[Outcome], figures: Figures) -> list[str]:
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


def _faults(outcomes: Sequence[Outcome]) -> list[str]:
    rows = [
        [outcome.one.name, decoding, fault, str(count)]
        for outcome in outcomes
        for (decoding, fault), count in sorted(outcome.faults.items())
    ]
    return table(["asked of", "decoding", "fault", "how often"], rows) if rows else ["No answer had a fault."]


def _protocols(outcomes: Sequence[Outcome]) -> list[str]:
    used = sorted({key.split("/")[1] for outcome in outcomes for key in outcome.scores if "/" in key})
    return [f"- **{name}**: {PROTOCOLS.get(name, 'a rule of the task that was evaluated')}" for name in used]
