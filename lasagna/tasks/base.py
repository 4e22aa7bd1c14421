"""The base class of tasks, which make dialogues for training and score answers in evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.batch import Sample
from lasagna.core.dialogue import Answer, Decoding, Dialogue, DialogueMaker
from lasagna.core.record import Record


class Task(DialogueMaker):
    """Dialogues for training and scores for evaluation, made from the annotations of records.

    Write a task of your own as a subclass in any file, and name it in the config by its import path; there is no
    registry.

    Attributes:
        decoding: How answers are decoded and scored in evaluation.
    """

    decoding: tuple[Decoding, ...] = ("ordered",)

    @abstractmethod
    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return the dialogues about a record; none if it has nothing for this task.

        Args:
            record: The image with its annotations.
            rng: The generator of this record in this epoch.
        """

    @abstractmethod
    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return new metrics for each decoding; their ``compute`` returns every score under its full key.

        Args:
            categories: The categories of the data set.
        """

    def score(
        self,
        metrics: MetricCollection,
        samples: Sequence[Sample],
        answers: Sequence[Answer],
        decoding: Decoding = "ordered",
    ) -> None:
        """Update the metrics with answers.

        Calls ``update(dialogue, answer)`` of each metric; override this for metrics that take other arguments.

        Args:
            metrics: The metrics that ``metrics`` returned.
            samples: The queries and the truth.
            answers: One answer for each sample.
            decoding: How the answers were decoded; metrics of other decodings are not updated.
        """
        for metric in metrics.values():
            if getattr(metric, "decoding", "ordered") == decoding:
                for sample, answer in zip(samples, answers, strict=True):
                    metric.update(sample.dialogue, answer)
