"""Scores of the sources of one stage: a batch is answered in each way of decoding, and its task scores the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchmetrics import MetricCollection

from lasagna.core.batch import Batch, Query
from lasagna.core.dialogue import Answer
from lasagna.datamodules import Source
from lasagna.errors import ConfigError
from lasagna.modules.assistant import Assistant
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import Decoding


class Evaluation(nn.Module):
    """The metrics of some sources.

    Args:
        sources: Where the records come from, with the tasks that score them.

    Raises:
        ConfigError: If a source's task makes dialogues and cannot score answers.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        super().__init__()
        self.names = [source.label for source in sources]
        self.tasks = [_task(source) for source in sources]
        self.metrics = nn.ModuleList(
            task.metrics(source.manifest.categories) for source, task in zip(sources, self.tasks, strict=True)
        )

    def step(self, assistant: Assistant, batch: Batch, index: int) -> dict[str, Any]:
        """Answer a batch and add it to the scores.

        Args:
            assistant: Who answers.
            batch: The batch.
            index: Position of its source.

        Returns:
            What pictures need: "samples", "answers" (of the first decoding) and "images".
        """
        task, metrics = self.tasks[index], self.metrics[index]
        assert isinstance(metrics, MetricCollection)
        answers = answer(assistant, batch, task.decoding)
        for decoding, given in answers.items():
            task.score(metrics, batch.samples, given, decoding)
        return {"samples": batch.samples, "answers": next(iter(answers.values())), "images": batch.images}

    def compute(self) -> dict[str, Tensor]:
        """Return all scores, named source/key, and begin anew."""
        scores: dict[str, Tensor] = {}
        for name, metrics in zip(self.names, self.metrics, strict=True):
            assert isinstance(metrics, MetricCollection)
            scores |= {f"{name}/{key}": value for key, value in metrics.compute().items()}
            metrics.reset()
        return scores


def answer(assistant: Assistant, batch: Batch, decodings: Sequence[Decoding]) -> dict[Decoding, list[Answer]]:
    """Answer a batch in some ways of decoding; the images are encoded once.

    Args:
        assistant: Who answers.
        batch: The batch.
        decodings: The ways, those of the task that made the batch.

    Returns:
        Decoding to one answer for each sample.
    """
    encoded = assistant.encode(batch.pixels, batch.tower_pixels)
    queries = queries_of(batch)
    # complex answers alone have masks that overlap and must be settled
    settle = any(query.kind == "complex" for query in queries)
    return {
        decoding: assistant.answer_batch(encoded, batch.geometries, queries, decoding=decoding, settle_overlaps=settle)
        for decoding in decodings
    }


def queries_of(batch: Batch) -> list[Query]:
    """Return what is asked in a batch, one query for each sample."""
    return [Query(sample.image, sample.dialogue.kind, sample.dialogue.query) for sample in batch.samples]


def _task(source: Source) -> Task:
    if not isinstance(source.task, Task):
        raise ConfigError(
            f"source {source.label}: its task {type(source.task).__name__} makes dialogues and cannot score answers; "
            "give a subclass of lasagna.tasks.Task"
        )
    return source.task
