"""What a task is: dialogues for training and scores in evaluation, in one class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.batch import Sample
from lasagna.core.dialogue import Answer, Decoding, Dialogue, DialogueMaker
from lasagna.core.record import Record


class Task(DialogueMaker):
    """One kind of question to the assistant, from the annotations to the score.

    A task of one's own is a subclass in a file of one's own, named in the config by its path; nothing is registered.

    Attributes:
        decoding: Ways in which answers are decoded and scored in evaluation.
    """

    decoding: tuple[Decoding, ...] = ("ordered",)

    @abstractmethod
    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return the dialogues to hold about a record; none if it has nothing for this task.

        Args:
            record: The image with its annotations.
            rng: The generator that belongs to this record in this epoch.
        """

    @abstractmethod
    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return fresh metrics for all of ``decoding``; ``compute`` gives every score under its full key.

        Args:
            categories: The categories of the data set that will be scored.
        """

    def score(
        self,
        metrics: MetricCollection,
        samples: Sequence[Sample],
        answers: Sequence[Answer],
        decoding: Decoding = "ordered",
    ) -> None:
        """Count answers.

        Each metric gets ``update(dialogue, answer)``; override this for metrics that take something else.

        Args:
            metrics: What ``metrics`` returned.
            samples: What was asked, and the truth about it.
            answers: What the assistant answered to each.
            decoding: How the answers were decoded; metrics made for the other way do not see them.
        """
        for metric in metrics.values():
            if getattr(metric, "decoding", "ordered") == decoding:
                for sample, answer in zip(samples, answers, strict=True):
                    metric.update(sample.dialogue, answer)
