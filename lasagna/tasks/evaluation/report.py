"""The report of an evaluation as Markdown, as a page, and as ``scores.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lasagna.core.dialogue import Decoding
from lasagna.core.pages import figure, number, one_line, plain, table, to_page
from lasagna.core.storage import write_text, writing
from lasagna.tasks.callbacks.run_facts import write_json
from lasagna.tasks.callbacks.summary import SCORES, print_scores
from lasagna.tasks.evaluation.figures import Figures, draw_figures, presence_rates
from lasagna.tasks.evaluation.over_all import over_all
from lasagna.tasks.evaluation.pair_section import pair_section
from lasagna.tasks.evaluation.scoring import EvaluationResult
from lasagna.tasks.metrics import PROTOCOLS, Quantity, quantity_of
from lasagna.tasks.metrics.names import ARROWS, PACKAGE_QUANTITIES, PUBLISHED, SOME_ASKED, WAYS

MAIN = (
    *("ap/coco", "pq/coco-panoptic", "object_count_accuracy/lasagna-v1", "cgf1/sa-co"),
    *("miou/lasagna-v1", "presence_f1/lasagna-v1", "il_mcc/lasagna-v1", "false_positive_rate/lasagna-v1"),
    *("giou/grefcoco", "n_acc/grefcoco"),
    *("see/sesame", "ciou/sesame", "riou/r-ris", "rejection/r-ris", "ciou/ref-zom", "giou/ref-zom"),
    *("image_accuracy/ref-zom", "giou/muse", "ciou/muse", "delta_iou_visual/hallusegbench"),
    *("giou/lisa", "ciou/lisa", "giou/teacher-forced", "ciou/teacher-forced", "vqa_accuracy/lasagna-v1"),
    *("mask_recall/lasagna-v1", "ap50/glamm", "matched_iou/glamm", "bleu/lasagna-v1", "cider/lasagna-v1"),
)
"""The scores in the first table, in this order."""

_PARTS = {part: way for way, (part,) in WAYS.items()}
"""Part of a key to the decoding that it says."""

_FIRST = ("ap", "pq", "miou", "giou", "ciou", "presence_f1", "vqa_accuracy")


def main_scores(results: Sequence[EvaluationResult]) -> list[str]:
    """Return tables of the main scores by the first decoding; runs with the same scores share a table."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for result in results:
        # the key of ordered decoding, or that of another one if there is no other
        ways = (*_PARTS, SOME_ASKED, "")
        known = [f"{key}/{way}".rstrip("/") for key in MAIN for way in ways]
        found = {_plain(key): key for key in known if key in result.scores}
        found |= _own_scores(result.scores, every=not found)
        row = [result.run.name, str(result.records), *(number(result.scores[key]) for key in found.values())]
        groups.setdefault(tuple(found), []).append(row)
    lines: list[str] = []
    for keys, rows in groups.items():
        head = ["source", "records", *(f"{key} {arrow(key)}" for key in keys)]
        lines += [*([""] if lines else []), *table(head, rows)]
    return lines


def _own_scores(scores: Mapping[str, float], *, every: bool) -> dict[str, str]:
    """Return the scores of own metrics, or all, that are no part of another, and their keys by the first decoding."""
    whole = {key: _plain(key) for key in scores if not key.startswith("faults/")}
    own = {key: name for key, name in whole.items() if every or key.split("/")[0] not in PACKAGE_QUANTITIES}
    return {name: name if name in scores else key for key, name in own.items() if name.count("/") == 1}


def all_scores(result: EvaluationResult) -> list[str]:
    """Return a table with a row for each score of a run, and a column for each decoding."""
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for key, value in result.scores.items():
        if not math.isnan(value) and not key.startswith("faults/"):
            quantity, protocol, part, way = _split(key)
            values.setdefault((quantity, protocol, part), {})[way] = value
    used = {way for found in values.values() for way in found}
    ways = [way for way in get_args(Decoding) if way in used]
    head = ["score", "protocol", *(ways if len(ways) > 1 else ["value"]), "description"]
    rows = [
        [
            f"{quantity} {part} {arrow(quantity)}",
            protocol,
            *(number(values[quantity, protocol, part].get(way, math.nan)) for way in ways),
            _quantity(quantity).text,
        ]
        for quantity, protocol, part in sorted(values, key=_order)
    ]
    return table(head, rows)


def arrow(key: str) -> str:
    """Return an arrow for the direction of a score; an empty text if it has none."""
    return ARROWS[_quantity(key).higher_is_better]


def _split(key: str) -> tuple[str, str, str, str]:
    """Return quantity, protocol, part and decoding of a key."""
    quantity, protocol, *parts = key.split("/")
    said = _PARTS.get(parts[0]) if parts else None
    way = said or ("teacher_forced" if protocol == "teacher-forced" else "ordered")
    return quantity, protocol, " ".join(parts[said is not None :]), way


def _plain(key: str) -> str:
    """Return a key without the decoding that it may end with."""
    return next((key.removesuffix(f"/{part}") for part in _PARTS if key.endswith(f"/{part}")), key)


def _order(row: tuple[str, str, str]) -> tuple[int, int, str, str]:
    quantity, protocol, part = row
    known = list(PROTOCOLS)
    first = _FIRST.index(quantity) if quantity in _FIRST else len(_FIRST)
    return known.index(protocol) if protocol in known else len(known), first, quantity, part


def _quantity(key: str) -> Quantity:
    # metrics that do not derive from DialogueMetric may have quantities that are not registered
    try:
        return quantity_of(key)
    except KeyError:
        return Quantity("")


_MOST = 12


def to_markdown(results: Sequence[EvaluationResult], header: Mapping[str, Any], figures: Figures) -> str:
    """Return the report: facts, the main scores, a section for each source, and what concerns all runs.

    Args:
        results: The results of all runs.
        header: The header of the evaluation.
        figures: The figures.
    """
    plain_results = [result for result in results if not result.run.controls]
    parts = [*_facts(header), "## Scores", "", *main_scores(plain_results)]
    for name, means in over_all(plain_results).items():
        rows = [[f"{key} {arrow(key)}", number(value)] for key, value in means.items()]
        parts += ["", f"Means over the data sets of {name}:", "", *table(["score", "mean"], rows)]
    for result in plain_results:
        parts += _section(result, figures)
    parts += ["", "## Does it look? Presence with and without the image", "", *_presence(results, figures)]
    parts += pair_section(results, figures.pairs)
    parts += ["", "## Faults of answers", "", *_faults(results), *_skipped(results)]
    parts += ["", "## Protocols", "", *protocol_table(results)]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(header["versions"].items()))
    return "\n".join([*parts, "", "## Versions", "", f"{one_line(versions)}.", ""])


def protocol_table(results: Sequence[EvaluationResult]) -> list[str]:
    """Return a table of the protocols, with their scores and the published systems that are scored by them."""
    scores: dict[str, set[str]] = {}
    for key in (key for result in results for key in result.scores if "/" in key):
        quantity, protocol, *_ = key.split("/")
        scores.setdefault(protocol, set()).add(quantity)
    rows = [
        [
            name,
            ", ".join(sorted(scores[name])),
            PROTOCOLS.get(name, "a rule of the evaluated task"),
            PUBLISHED.get(name, "none"),
        ]
        for name in sorted(scores)
    ]
    return table(["protocol", "scores", "rule", "published systems that are scored by it"], rows)


def _shards(header: Mapping[str, Any]) -> str:
    """Return where the shards are, if all sources have the same, as those of a folder have."""
    arguments = (header.get("data") or {}).get("init_args") or {}
    sources = arguments.get(header["split"]) or []
    places = {source.get("shards") for source in sources if isinstance(source, Mapping)}
    return f" of {places.pop()}" if len(places) == 1 and None not in places else ""


def _facts(header: Mapping[str, Any]) -> list[str]:
    limit = "" if header["limit"] is None else f", at most {header['limit']} records of each source"
    cuts = header["thresholds"]
    # evaluations of earlier versions have one threshold for all runs
    presence = {"all": cuts["presence"]} if isinstance(cuts["presence"], float) else cuts["presence"]
    values = [f"{value:.3g}" for value in sorted(set(presence.values()))]
    each = values[0] if len(values) == 1 else ", ".join(f"{name} {presence[name]:.3g}" for name in sorted(presence))
    facts = [
        f"- Checkpoint: {header['checkpoint']}, weights {header['weights']}",
        f"- Split {header['split']}{_shards(header)}{limit}; answered on {header['device']}",
        f"- Seed {header['seed']}; threshold of masks {cuts['mask']}; of presence {each}, at "
        f"temperature {cuts.get('temperature', 1.0):.3g}",
        "- Answers are generated; the model is given no part of the right answer"
        + (", except for scores of the protocol teacher-forced." if header.get("teacher_forced") else "."),
    ]
    if tiles := header.get("tiles"):
        facts.append(f"- Pictures are answered in tiles of {tiles['size']} pixels that overlap by {tiles['overlap']}")
    return [*map(one_line, facts), ""]


def _section(result: EvaluationResult, figures: Figures) -> list[str]:
    """Return the section of a source."""
    name = plain(result.run.name)
    parts = ["", f"## {name}", "", *all_scores(result)]
    if result.run.name in figures.answers:
        caption = "The best, the median and the worst answer, by the mean IoU of names present or called present"
        parts += figure(figures.answers[result.run.name], f"{caption} (questions: right or wrong)")
    if result.run.name in figures.categories:
        parts += figure(figures.categories[result.run.name], "IoU of each category, the worst at the top")
    return parts + _confusion(result, name)


def _confusion(result: EvaluationResult, name: str) -> list[str]:
    if not result.presence:
        return []
    wrong = {queried: counts for queried, counts in result.presence.items() if counts[1] or counts[2]}
    order = sorted(wrong, key=lambda queried: (-wrong[queried][1] - wrong[queried][2], queried))[:_MOST]
    totals = [sum(column) for column in zip(*result.presence.values(), strict=True)]
    rows = [["all names", *map(str, totals)], *([queried, *map(str, wrong[queried])] for queried in order)]
    head = ["name", "present, called present", "absent, called present", "present, missed", "absent, not called"]
    pairs = [[missed, claimed, str(count)] for (missed, claimed), count in result.confused.most_common(_MOST)]
    worst = f"; the {_MOST} worst" if len(wrong) > _MOST else ""
    names = "1 name has" if len(wrong) == 1 else f"{len(wrong)} names have"
    text = f"{names} wrong decisions{worst}:" if wrong else "All decisions are right."
    parts = ["", f"### Confusion of presence: {name}", "", text, "", *table(head, rows)]
    return parts + (["", *table(["missed", "called present instead", "answers"], pairs)] if pairs else [])


def _presence(results: Sequence[EvaluationResult], figures: Figures) -> list[str]:
    rows = []
    for result in results:
        if (rates := presence_rates(result)) is not None:
            names = sum(map(sum, result.presence.values()))
            rows.append([result.run.name, str(names), *map(number, (*rates, rates[0] - rates[1]))])
    if not rows:
        return ["No run asks for lists of names."]
    text = (
        "Recall and false-positive rate are the shares of present and of absent names that are called present. Blind: "
        "images are replaced by noise. Same-set and co-occurring: as many absent names as present ones, random ones of "
        "the data set or those that appear most often beside the present ones. Counterfactual: both names of each pair "
        "on both images. A blind model answers from the words "
        "only; compare the difference with and without the image."
    )
    parts = [text, "", *table(["run", "names", "recall ↑", "false-positive rate ↓", "difference ↑"], rows)]
    if figures.presence:
        parts += figure(figures.presence, "The distance that is lost without the image comes from the image")
    if figures.reliability:
        parts += figure(figures.reliability, "Calibrated scores lie on the diagonal; larger dots: more decisions")
    return parts


def _faults(results: Sequence[EvaluationResult]) -> list[str]:
    rows = [
        [result.run.name, decoding, fault, str(count)]
        for result in results
        for (decoding, fault), count in sorted(result.faults.items())
    ]
    return table(["run", "decoding", "fault", "count"], rows) if rows else ["No answer had a fault."]


def _skipped(results: Sequence[EvaluationResult]) -> list[str]:
    rows = [
        [result.run.name, str(len(result.skipped)), plain(next(iter(result.skipped.values())))]
        for result in results
        if result.skipped
    ]
    return ["", "## Skipped records", "", *table(["run", "records", "first reason"], rows)] if rows else []


TITLE = "Evaluation"


def write_report(results: Sequence[EvaluationResult], header: Mapping[str, Any], out: Path, predictions: Path) -> None:
    """Write the report and print the scores.

    Args:
        results: The results of all runs.
        header: The header of the evaluation.
        out: The folder of the report.
        predictions: The folder of the evaluation.
    """
    scores = named_scores(results, header["split"])
    write_json(out / SCORES, _content(results, header, scores))
    with writing(out):
        text = to_markdown(results, header, draw_figures(results, out, predictions))
    write_text(out / "report.md", f"# {TITLE}\n\n{text}")
    write_text(out / "report.html", to_page(TITLE, text, folder=out))
    plain = named_scores([result for result in results if not result.run.controls], header["split"])
    print_scores("evaluation", {name: value for name, value in plain.items() if not math.isnan(value)})
    for result in results:
        if result.skipped:
            print(f"{result.run.name}: {len(result.skipped)} broken records were skipped")
    print(f"written to {out}: report.html, report.md and their figures, {SCORES}")


def named_scores(results: Sequence[EvaluationResult], split: str) -> dict[str, float]:
    """Return all scores under split/run/key, and those over all data sets of a benchmark."""
    named = {result.run.name: result.scores for result in results} | over_all(results)
    return {f"{split}/{name}/{key}": value for name, scores in named.items() for key, value in scores.items()}


def _content(
    results: Sequence[EvaluationResult], header: Mapping[str, Any], scores: Mapping[str, float]
) -> dict[str, Any]:
    finite = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    records = {result.run.name: result.records for result in results}
    facts = {name: header[name] for name in ("checkpoint", "weights", "seed", "limit", "thresholds", "versions")}
    test: dict[str, Any] = {"scores": finite, "records": records}
    if skipped := {result.run.name: result.skipped for result in results if result.skipped}:
        test["skipped"] = skipped
    return facts | {"seeds": {"data": header["seed"]}, "stages": {"test": test}}
