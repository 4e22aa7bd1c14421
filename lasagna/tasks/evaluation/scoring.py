"""Scores of stored answers: the truth comes from the data, the answers from the folder, and no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torchmetrics import MetricCollection

from lasagna.core.batch import Sample
from lasagna.core.dialogue import Answer, Decoding, Dialogue
from lasagna.core.prompt_format import normalise
from lasagna.datamodules.shards.codec import record_key
from lasagna.errors import ConfigError, RecordError
from lasagna.tasks import Reasoning, Referring, Semantic, Task
from lasagna.tasks.evaluation.predictions import StoredLines, from_json, read_lines
from lasagna.tasks.evaluation.runs import EvaluationRun, EvaluationSample
from lasagna.tasks.metrics import (
    DialogueMetric,
    MeanIoU,
    MMSegMeanIoU,
    ReasoningIoU,
    ReferenceMeanIoU,
    ReferringIoU,
    TeacherForcedIoU,
)
from lasagna.tasks.metrics.answer_accuracy import normalise_answer
from lasagna.tasks.metrics.base import answered_by_name, answered_mask, entries_by_name, image_size
from lasagna.tasks.metrics.mean_iou import iou_by_category
from lasagna.tasks.metrics.phrase_iou import grefcoco_iou, overlap


def quality(dialogue: Dialogue, answer: Answer) -> float | None:
    """Return how good an answer is, in [0, 1]; None if there is nothing to tell by.

    A question is answered right or wrong. Otherwise it is the mean IoU over the names that are there or are called
    present (a name that is neither has nothing to show); a list of which nothing is there and nothing is claimed has 1.
    """
    if dialogue.kind == "question":
        return float(normalise_answer(answer.text) == normalise_answer(dialogue.text))
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    size = image_size(dialogue, answer)
    if size is None:
        there = [entry.present for entry in dialogue.entries] + [entry.present for entry in answer.entries]
        return 0.0 if any(there) else 1.0
    ignore = None if dialogue.ignore is None else dialogue.ignore.decode()
    nothing, found = np.zeros(size, dtype=bool), []
    for name in truth.keys() | answered.keys():
        entry, claim = truth.get(name), answered_mask(answered.get(name), size)
        target = entry is not None and entry.present
        called = name in answered and answered[name].present
        if target and entry is not None:
            mask = nothing if entry.mask is None else entry.mask.decode()
            found.append(grefcoco_iou(overlap(mask, nothing if claim is None else claim, ignore, target=True)))
        elif called:
            found.append(0.0)
    return float(np.mean(found)) if found else 1.0


Answered = tuple[Dialogue, dict[Decoding, Answer]]


@dataclass(frozen=True, order=True)
class RankedAnswer:
    """How good one answer is.

    Args:
        quality: From 0 to 1.
        key: Key of the record.
        row: Which of the record's dialogues it answers.
    """

    quality: float
    key: str
    row: int


@dataclass
class EvaluationResult:
    """What came of one pass.

    Args:
        one: The pass.
        scores: Score by its key.
        records: How many records were scored.
        judged: Every answer of the first decoding, for the choice of pictures.
        presence: Name to how often it was there and called present, absent and called present, there and not called
            present, absent and not called present.
        confused: (missed name, falsely claimed name of the same answer) to how often.
        decisions: Score of each name that was decided on, and whether it is there.
        faults: (decoding, fault) to how often.
        categories: Category to IoU, where the task has categories.
    """

    one: EvaluationRun
    scores: dict[str, float] = field(default_factory=dict)
    records: int = 0
    judged: list[RankedAnswer] = field(default_factory=list)
    presence: dict[str, list[int]] = field(default_factory=dict)
    confused: Counter[tuple[str, str]] = field(default_factory=Counter)
    decisions: list[tuple[float, bool]] = field(default_factory=list)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    categories: dict[str, float] = field(default_factory=dict)


def score_passes(passes: Sequence[EvaluationRun], folder: Path) -> list[EvaluationResult]:
    """Score all passes; those that have nothing to ask drop out.

    Raises:
        ConfigError: If the answers are about other records, records have no answers, or nothing was asked at all.
    """
    lines = read_lines(folder)
    _check_keys(lines, passes)
    outcomes = [score_pass(one, lines, folder) for one in passes]
    if not any(outcome.records for outcome in outcomes):
        raise ConfigError("data: none of the records has anything to ask; choose other data or other tasks")
    return [outcome for outcome in outcomes if outcome.records]


def score_pass(one: EvaluationRun, lines: StoredLines, folder: Path) -> EvaluationResult:
    """Score one pass.

    Args:
        one: The pass.
        lines: The stored lines.
        folder: Where they come from, for messages.

    Raises:
        ConfigError: If a record has no answers, or answers to other questions.
    """
    outcome, metrics = EvaluationResult(one), metrics_for(one)
    for asked, rows in stored_rows(one, lines, folder):
        outcome.records += 1
        for row, (dialogue, answers) in enumerate(rows):
            sample = Sample(one.name, asked.record.key, 0, dialogue)
            for decoding, answer in answers.items():
                one.task.score(metrics, [sample], [answer], decoding)
                outcome.faults.update((decoding, fault) for fault in answer.faults)
            first = answers[one.decodings[0]]
            if (value := quality(dialogue, first)) is not None:
                outcome.judged.append(RankedAnswer(value, asked.record.key, row))
            _count_presence(outcome, dialogue, first)
    if outcome.records:
        outcome.scores = {key: float(value) for key, value in metrics.compute().items()}
        outcome.categories = _by_category(metrics)
    return outcome


def stored_rows(
    one: EvaluationRun, lines: StoredLines, folder: Path
) -> Iterator[tuple[EvaluationSample, list[Answered]]]:
    """Yield each record of a pass with its dialogues and the answers to them, in the order of the data."""
    missing = []
    for raw in one.raw():
        asked = one.ask(raw)
        if asked is None:
            continue
        line = lines.get((one.name, asked.record.key))
        if line is None:
            missing.append(asked.record.key)
        else:
            yield asked, rows_of(one, asked, line, folder)
    if missing:
        raise ConfigError(
            f"predictions: {str(folder)!r} has no answers about {len(missing)} records of {one.name!r} ({missing[0]}, "
            "...); the evaluation was interrupted: give the same command with --ckpt again, and it goes on"
        )


def metrics_for(one: EvaluationRun) -> MetricCollection:
    """Return the metrics of a pass: its task's own, and those of further protocols."""
    categories = one.source.manifest.categories
    metrics = list(one.task.metrics(categories).values())
    known = {(type(metric), getattr(metric, "decoding", "ordered")) for metric in metrics}
    further = [metric for decoding in one.decodings for metric in _further(one.task, categories, decoding)]
    metrics += [metric for metric in further if (type(metric), metric.decoding) not in known]
    kept = [metric for metric in metrics if getattr(metric, "decoding", "ordered") in one.decodings]
    named: dict[str, Any] = {f"{type(metric).__name__}_{rank}": metric for rank, metric in enumerate(kept)}
    return MetricCollection(named, compute_groups=False)


def _further(task: Task, categories: tuple[str, ...], decoding: Decoding) -> list[DialogueMetric]:
    if isinstance(task, Semantic):
        own = [metric for metric in Semantic(free_decoding=True).metrics(categories).values()]
        ours = [metric for metric in own if isinstance(metric, DialogueMetric) and metric.decoding == decoding]
        return [*ours, ReferenceMeanIoU(categories, decoding), MMSegMeanIoU(categories, decoding)]
    if decoding == "teacher_forced":
        return [TeacherForcedIoU()]
    if isinstance(task, Referring | Reasoning):
        return [ReferringIoU(decoding), ReasoningIoU(decoding)]
    return []


def rows_of(one: EvaluationRun, asked: EvaluationSample, line: dict[str, Any], folder: Path) -> list[Answered]:
    """Return a record's dialogues with the stored answers to them.

    Args:
        one: The pass.
        asked: The record.
        line: What is stored about it.
        folder: Where that comes from, for messages.

    Raises:
        ConfigError: If the answers are about another picture or to other questions, or cannot be read.
    """
    place = f"predictions: {str(folder)!r}, record {asked.record.key} of {one.name!r}"
    try:
        stored = line["dialogues"]
        size, queries = asked.record.size, [(row["kind"], tuple(row["query"])) for row in stored]
        if tuple(line["size"]) != size:
            raise ConfigError(f"{place}: the answers are about an image of size {line['size']}, not {size}")
        if queries != [(dialogue.kind, dialogue.query) for dialogue in asked.dialogues]:
            raise ConfigError(f"{place}: the answers are to other questions; give the data that was asked about")
        return [
            (
                dialogue,
                {way: _known(from_json(row["answers"][way], size), dialogue, place) for way in one.decodings},
            )
            for dialogue, row in zip(asked.dialogues, stored, strict=True)
        ]
    except (KeyError, TypeError, ValueError, RecordError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{place}: the stored answers cannot be read ({error!r})") from error


def _known(answer: Answer, dialogue: Dialogue, place: str) -> Answer:
    """Check that an answer names nothing that was not asked for."""
    asked = {normalise(name) for name in dialogue.query}
    strange = [entry.name for entry in answer.entries if normalise(entry.name) not in asked]
    if strange:
        raise ConfigError(f"{place}: the answers name {strange[:3]}, which were not asked for")
    return answer


def _check_keys(lines: StoredLines, passes: Sequence[EvaluationRun]) -> None:
    names = {one.name for one in passes}
    strange = sorted({name for name, _ in lines} - names)
    if strange:
        raise ConfigError(f"predictions: they have answers of {strange[:4]}, the data has {sorted(names)[:8]}")
    for one in passes:
        keys = {record_key(raw) for raw in one.raw()}
        others = [key for name, key in lines if name == one.name and key not in keys]
        if others:
            raise ConfigError(
                f"predictions: {len(others)} records of {one.name!r} are not in the data ({others[0]}, ...); they are "
                "about other images: give the data that was asked about"
            )


def _count_presence(outcome: EvaluationResult, dialogue: Dialogue, answer: Answer) -> None:
    if dialogue.kind != "categories":
        return
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    missed, claimed = [], []
    for asked in dialogue.query:
        name = normalise(asked)
        there = name in truth and truth[name].present
        called = name in answered and answered[name].present
        outcome.presence.setdefault(asked, [0, 0, 0, 0])[2 * (not called) + (not there)] += 1
        outcome.decisions += [(answered[name].score, there)] if name in answered else []
        missed += [asked] if there and not called else []
        claimed += [asked] if called and not there else []
    outcome.confused.update((one, other) for one in missed for other in claimed)


def _by_category(metrics: MetricCollection) -> dict[str, float]:
    for metric in metrics.values():
        if type(metric) is MeanIoU:
            values: Tensor = iou_by_category(metric.confusion)
            return {name: float(value) for name, value in zip(metric.categories, values, strict=True)}
    return {}
