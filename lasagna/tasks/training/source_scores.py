"""Answers to the batches of validation and test, and the scores of each source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from lasagna.core.answer import Answer
from lasagna.core.batch import Batch, Query
from lasagna.core.dialogue import Decoding
from lasagna.datamodules.protocols import DataWithSources, RecordSource
from lasagna.datamodules.streaming.skipped import none_used
from lasagna.errors import ConfigError, RecordError
from lasagna.modules.assistant import Assistant
from lasagna.modules.contract import check_decoding
from lasagna.modules.presence_head import check_one_pass
from lasagna.tasks.base import Task
from lasagna.tasks.metrics.agreement import DecisionAgreement, compares
from lasagna.tasks.training.batch_checks import check_batch

MOST_QUERIES = 64
"""Most queries that are answered together, which bounds the memory."""


class Evaluation(nn.Module):
    """The metrics of some sources.

    Args:
        sources: Where the records come from, with the tasks that score them.
        assistant: The assistant that is to answer, if that is known.

    Raises:
        ConfigError: If a source's task cannot score answers.
        QueryError: If the assistant cannot answer in the ways that a task asks for.
    """

    def __init__(self, sources: Sequence[RecordSource], assistant: Assistant | None = None) -> None:
        super().__init__()
        self.names = [source.label for source in sources]
        self.tasks = [_task(source) for source in sources]
        self.metrics = nn.ModuleList(
            task.metrics(source.manifest.categories) for source, task in zip(sources, self.tasks, strict=True)
        )
        both = [str(rank) for rank, task in enumerate(self.tasks) if compares(task.decoding)]
        self.agreements = nn.ModuleDict({rank: DecisionAgreement() for rank in both})
        for task in self.tasks:
            if assistant is not None and "one_pass" in task.decoding:
                check_one_pass(assistant.presence_head, assistant.format, task.kinds)

    def step(self, assistant: Assistant, batch: Batch, index: int) -> dict[str, Any]:
        """Answer a batch and update the metrics.

        Args:
            assistant: The assistant.
            batch: The batch.
            index: Position of its source.

        Returns:
            What callbacks draw: "samples", "answers" (of the first decoding) and "images".

        Raises:
            ConfigError: If a loader of one's own yields something else than batches, or has no source.
        """
        check_batch(batch)
        if index >= len(self.tasks):
            raise ConfigError(
                f"data: there is a loader {index} and only {len(self.tasks)} sources; give one loader for each of the "
                "`sources` of the split, in their order"
            )
        task, metrics = self.tasks[index], self.metrics[index]
        assert isinstance(metrics, MetricCollection)
        answers = answer(assistant, batch, task.decoding)
        for decoding, given in answers.items():
            task.score(metrics, batch.samples, given, decoding)
        if str(index) in self.agreements:
            agreement = self.agreements[str(index)]
            assert isinstance(agreement, DecisionAgreement)
            agreement.update_all([sample.dialogue for sample in batch.samples], answers)
        return {"samples": batch.samples, "answers": next(iter(answers.values())), "images": batch.images}

    def compute(self) -> dict[str, Tensor]:
        """Return all scores under source/key, and reset the metrics."""
        scores: dict[str, Tensor] = {}
        for rank, (name, metrics) in enumerate(zip(self.names, self.metrics, strict=True)):
            for metric in (metrics, *([self.agreements[str(rank)]] if str(rank) in self.agreements else [])):
                assert isinstance(metric, MetricCollection | DecisionAgreement)
                scores |= {f"{name}/{key}": _number(name, key, value) for key, value in metric.compute().items()}
                metric.reset()
        return scores


def answer(assistant: Assistant, batch: Batch, decodings: Sequence[Decoding]) -> dict[Decoding, list[Answer]]:
    """Answer a batch in one or more ways of decoding; the images are encoded once.

    Not all queries are answered together if there are many, as benchmarks have it that ask every phrase of an image.

    Args:
        assistant: The assistant that answers.
        batch: The batch; its queries were checked when its samples were prepared.
        decodings: The ways of decoding, those of the task that made the batch.

    Returns:
        Decoding to one answer for each sample.

    Raises:
        QueryError: If a query cannot be decoded in one of these ways.
    """
    queries = queries_of(batch)
    for decoding in decodings:
        check_decoding(assistant, queries, decoding)
    with assistant.answering():
        encoded = assistant.encode(batch.pixels, batch.tower_pixels, batch.shown)
    parts = [queries[first : first + MOST_QUERIES] for first in range(0, len(queries), MOST_QUERIES)]
    return {
        decoding: [one for part in parts for one in assistant.answer_batch(encoded, batch.geometries, part, decoding)]
        for decoding in decodings
    }


def check_used(data: DataWithSources, stage: str) -> None:
    """Check that a record of each source could be used in some process; all processes must call this together.

    Args:
        data: The data module; one that does not count its records is not checked.
        stage: "validate", "test" or "predict".

    Raises:
        RecordError: If none of the records of a source could be used.
    """
    counts = data.counts(stage) if hasattr(data, "counts") else {}
    for split, found in counts.items():
        for source in data.sources[split]:
            count = found.get(source.label)
            if count is not None and count["read"] and not count["used"]:
                raise RecordError(none_used(source.label, count, source.task))


def queries_of(batch: Batch) -> list[Query]:
    """Return the queries of a batch, one for each sample."""
    return [
        Query(
            sample.image,
            sample.dialogue.kind,
            sample.dialogue.query,
            images=sample.images,
            wording=sample.dialogue.wording[0],
        )
        for sample in batch.samples
    ]


def _number(source: str, key: str, value: object) -> Tensor:
    """Return a score as a tensor.

    Raises:
        ConfigError: If it is not one number.
    """
    if isinstance(value, int | float):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(f"source {source}: its metric must compute one number as {key!r}, got {found}")
    return value


def _task(source: RecordSource) -> Task:
    if not isinstance(source.task, Task):
        raise ConfigError(
            f"source {source.label}: its task {type(source.task).__name__} cannot score answers; give a subclass of "
            "lasagna.tasks.Task"
        )
    return source.task
