"""Scores of stored answers; the truth comes from the data, the answers from the folder, and no model is needed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.answer import Answer
from lasagna.core.batch import Sample
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.prompt_format import normalise
from lasagna.datamodules import Source
from lasagna.datamodules.shards.codec import record_key
from lasagna.errors import ConfigError, RecordError
from lasagna.tasks.evaluation.predictions import StoredLines, from_json, read_lines
from lasagna.tasks.evaluation.run_metrics import metrics_for
from lasagna.tasks.evaluation.runs import EvaluationRun, EvaluationSample
from lasagna.tasks.metrics.agreement import DecisionAgreement, compares
from lasagna.tasks.metrics.answer_accuracy import normalise_answer
from lasagna.tasks.metrics.base import answered_by_name, answered_mask, entries_by_name, image_size
from lasagna.tasks.metrics.grounding import caption_quality
from lasagna.tasks.metrics.names import key_of_some
from lasagna.tasks.metrics.phrase_iou import grefcoco_iou, overlap


def quality(dialogue: Dialogue, answer: Answer) -> float:
    """Return how good an answer is, in [0, 1].

    An answer in words alone is right or wrong. Otherwise the quality is the mean IoU over the names that are present or
    called present; it is 1 if no name is either. Phrases of a caption are matched by their masks.
    """
    if dialogue.kind.grounded:
        return caption_quality(dialogue, answer)
    if not dialogue.kind.masks:
        return float(normalise_answer(answer.text) == normalise_answer(dialogue.text))
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    size = image_size(dialogue, answer)
    if size is None:
        has_present = any(entry.present for entry in dialogue.entries) or any(entry.present for entry in answer.entries)
        return 0.0 if has_present else 1.0
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
    """How good an answer is.

    Args:
        quality: From 0 to 1.
        key: Key of the record.
        row: Position of the dialogue among those of the record.
    """

    quality: float
    key: str
    row: int


@dataclass
class EvaluationResult:
    """The result of a run.

    Args:
        run: The run.
        scores: Scores by key.
        records: How many records were scored.
        skipped: Key of each record that was skipped, with the reason.
        answers: All answers of the first decoding, with their quality.
        presence: For each name how often it was present and called present, absent and called present, present and not
            called present, absent and not called present.
        confused: (missed name, falsely claimed name of the same answer) to how often.
        decisions: Score of each name that was decided on, and whether it is present.
        faults: (decoding, fault) to how often.
        categories: Category to IoU, if the task has categories.
    """

    run: EvaluationRun
    scores: dict[str, float] = field(default_factory=dict)
    records: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    answers: list[RankedAnswer] = field(default_factory=list)
    presence: dict[str, list[int]] = field(default_factory=dict)
    confused: Counter[tuple[str, str]] = field(default_factory=Counter)
    decisions: list[tuple[float, bool]] = field(default_factory=list)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    categories: dict[str, float] = field(default_factory=dict)


def score_runs(runs: Sequence[EvaluationRun], folder: Path) -> list[EvaluationResult]:
    """Score all runs; those that have nothing to ask are left out.

    Args:
        runs: The runs.
        folder: The folder of the evaluation.

    Raises:
        ConfigError: If answers are about other records or records have no answers, or if no record was answered.
    """
    lines = read_lines(folder)
    _check_keys(lines, runs)
    results = [score_run(run, lines, folder) for run in runs]
    if not any(result.records for result in results):
        skipped = {reason for result in results for reason in result.skipped.values()}
        broken = f"{len(skipped)} were broken, the first because: {min(skipped)}; " if skipped else ""
        raise ConfigError(
            f"data: no record has anything to ask ({broken}the others have nothing for their tasks); choose other data "
            "or other tasks"
        )
    return [result for result in results if result.records or result.skipped]


def score_run(run: EvaluationRun, lines: StoredLines, folder: Path) -> EvaluationResult:
    """Score a run.

    Args:
        run: The run.
        lines: The stored lines.
        folder: The folder of the evaluation, for messages.

    Raises:
        ConfigError: If a record has no answers, or answers to other questions.
    """
    result, metrics, asks_all = EvaluationResult(run), metrics_for(run), not _cuts_phrases(run)
    agreement = DecisionAgreement() if compares(run.decodings) else None
    for sample, rows in stored_rows(run, lines, folder, result.skipped):
        result.records += 1
        asks_all &= run.asks_all(sample.record)
        samples = [Sample(run.name, sample.record.key, 0, dialogue) for dialogue, _ in rows]
        for decoding in run.decodings:
            run.task.score(metrics, samples, [answers[decoding] for _, answers in rows], decoding)
        if agreement is not None:
            for dialogue, answers in rows:
                agreement.update(dialogue, answers["one_pass"], answers["ordered"])
        for row, (dialogue, answers) in enumerate(rows):
            for decoding, answer in answers.items():
                result.faults.update((decoding, fault) for fault in answer.faults)
            first = answers[run.decodings[0]]
            result.answers.append(RankedAnswer(quality(dialogue, first), sample.record.key, row))
            _count_presence(result, dialogue, first)
    if result.records:
        found = metrics.compute() | ({} if agreement is None else agreement.compute())
        computed = {key: float(value) for key, value in found.items()}
        result.scores = computed if asks_all else {key_of_some(key): value for key, value in computed.items()}
        result.categories = _by_category(metrics)
    return result


def _cuts_phrases(run: EvaluationRun) -> bool:
    """Return whether phrases are asked for about some of the records only."""
    phrases = any(kind.is_phrase for kind in run.task.kinds)
    records = run.source.shard_set.records if isinstance(run.source, Source) else math.inf
    return phrases and not run.own_metrics() and run.limit is not None and run.limit < records


def stored_rows(
    run: EvaluationRun, lines: StoredLines, folder: Path, skipped: dict[str, str]
) -> Iterator[tuple[EvaluationSample, list[Answered]]]:
    """Yield each record of a run with its dialogues and the stored answers, in the order of the data.

    Args:
        run: The run.
        lines: The stored lines.
        folder: The folder of the evaluation, for messages.
        skipped: Gets the key of each record that was skipped, with the reason.

    Raises:
        ConfigError: If a record has no answers, or answers to other questions.
        RecordError: If a record cannot be used, and neither was it skipped nor are such records to be.
    """
    missing = []
    for raw in run.raw():
        key = record_key(raw)
        line = lines.get((run.name, key))
        if line is not None and "skipped" in line:
            skipped[key] = str(line["skipped"])
            continue
        try:
            sample = run.ask(raw)
        except RecordError as error:
            run.check_skipped(error)
            skipped[key] = str(error)
            continue
        if sample is None:
            continue
        if line is None:
            missing.append(key)
        else:
            yield sample, rows_of(run, sample, line, folder)
    if missing:
        raise ConfigError(
            f"predictions: {str(folder)!r} has no answers about {len(missing)} records of {run.name!r} ({missing[0]}, "
            "...); the evaluation was interrupted: repeat the command with --ckpt, and it goes on"
        )


def rows_of(run: EvaluationRun, sample: EvaluationSample, line: dict[str, Any], folder: Path) -> list[Answered]:
    """Return a record's dialogues with the stored answers.

    Args:
        run: The run.
        sample: The record.
        line: The stored line of the record.
        folder: The folder of the evaluation, for messages.

    Raises:
        ConfigError: If the answers are about another image or to other questions, or cannot be read.
    """
    place = f"predictions: {str(folder)!r}, record {sample.record.key} of {run.name!r}"
    try:
        stored = line["dialogues"]
        size, queries = sample.record.size, [(row["kind"], tuple(row["query"])) for row in stored]
        if tuple(line["size"]) != size:
            raise ConfigError(f"{place}: the answers are about an image of size {line['size']}, not {size}")
        if queries != [(dialogue.kind, dialogue.query) for dialogue in sample.dialogues]:
            raise ConfigError(f"{place}: the answers are to other questions; give the data that was answered")
        return [
            (
                dialogue,
                {way: _checked(from_json(row["answers"][way], size), dialogue, place) for way in run.decodings},
            )
            for dialogue, row in zip(sample.dialogues, stored, strict=True)
        ]
    except (KeyError, TypeError, ValueError, RecordError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{place}: the stored answers cannot be read ({error!r})") from error


def _checked(answer: Answer, dialogue: Dialogue, place: str) -> Answer:
    """Check that an answer has no names beside those of its query, unless its words are free."""
    if dialogue.kind.grounded:
        return answer
    query = {normalise(name) for name in dialogue.query}
    unknown = [entry.name for entry in answer.entries if normalise(entry.name) not in query]
    if unknown:
        raise ConfigError(f"{place}: the answers name {unknown[:3]}, which were not asked for")
    return answer


def _check_keys(lines: StoredLines, runs: Sequence[EvaluationRun]) -> None:
    names = {run.name for run in runs}
    unknown = sorted({name for name, _ in lines} - names)
    if unknown:
        raise ConfigError(f"predictions: they have answers of {unknown[:4]}, the data has {sorted(names)[:8]}")
    for run in runs:
        keys = {record_key(raw) for raw in run.raw()}
        others = [key for name, key in lines if name == run.name and key not in keys]
        if others:
            raise ConfigError(
                f"predictions: {len(others)} records of {run.name!r} are not in the data ({others[0]}, ...); the "
                "answers are about other images: give the data that was answered"
            )


def _count_presence(result: EvaluationResult, dialogue: Dialogue, answer: Answer) -> None:
    if not dialogue.kind.many:
        return
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    missed, claimed = [], []
    for queried in dialogue.query:
        name = normalise(queried)
        present = name in truth and truth[name].present
        called = name in answered and answered[name].present
        result.presence.setdefault(queried, [0, 0, 0, 0])[2 * (not called) + (not present)] += 1
        if name in answered:
            result.decisions.append((answered[name].score, present))
        if present and not called:
            missed.append(queried)
        elif called and not present:
            claimed.append(queried)
    result.confused.update((one, other) for one in missed for other in claimed)


def _by_category(metrics: MetricCollection) -> dict[str, float]:
    """Return the scores by category of the first metric that has them."""
    found = (getattr(metric, "by_category", None) for metric in metrics.values())
    return next((by_category() for by_category in found if by_category is not None), {})
