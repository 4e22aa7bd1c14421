"""The base class of tasks, which make dialogues for training and score answers in evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue, DialogueMaker
from lasagna.core.query_kind import QueryKind
from lasagna.core.record import Record
from lasagna.errors import ConfigError

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

    from lasagna.core.batch import Sample
    from lasagna.tasks.metrics import DialogueMetric


class Task(DialogueMaker):
    """Dialogues for training and scores for evaluation, made from the annotations of records.

    Write a task of your own as a subclass in any file, and name it in the config by its import path; there is no
    registry.

    Attributes:
        decoding: How answers are decoded and scored in evaluation.
        kinds: The kinds of query that its dialogues have. ``lasagna evaluate`` asks lists of names again with the
            controls that choose names, asks lists and phrases about twins of images, gives the answer to phrases where
            ``--teacher_forced`` is set, and scores both by further protocols. A task that states none is asked with the
            controls of lists, and scored by its own metrics.
    """

    decoding: tuple[Decoding, ...] = ("ordered",)
    kinds: tuple[QueryKind, ...] = ()

    def __init_subclass__(cls) -> None:
        """Check the kinds of query of a new class.

        Raises:
            ConfigError: If one is not a ``QueryKind``.
        """
        super().__init_subclass__()
        stated = cls.__dict__.get("kinds", ())
        for kind in stated if isinstance(stated, tuple) else ():
            if not isinstance(kind, QueryKind):
                raise ConfigError(
                    f"{cls.__name__}.kinds: {kind!r} is not a QueryKind; give the kind itself, one of "
                    "lasagna.core.query_kind or your own QueryKind(...)"
                )

    @abstractmethod
    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return the dialogues about a record; none if it has nothing for this task.

        Args:
            record: The image with its annotations.
            rng: The generator of this record in this epoch.
        """

    def asks_all(self, record: Record) -> bool:
        """Return whether all of a record's annotations for this task are asked about, as benchmarks do.

        ``lasagna evaluate`` gives scores of benchmarks names of their own where this is not so.

        Args:
            record: The record.
        """
        return True

    @abstractmethod
    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return new metrics for each decoding; their ``compute`` returns every score under its full key.

        Args:
            categories: The categories of the data set.
        """

    def naming_kind(self) -> QueryKind | None:
        """Return the kind of query that asks for a thing by a phrase such as "the oak"; None if there is none.

        The control "counterfactual" asks by it where a task does not ask for lists. By default it is the first of
        ``kinds`` that a mask alone answers. Override this where phrases are questions, which name nothing.
        """
        return next((kind for kind in self.kinds if kind.is_phrase and not kind.words), None)

    def further_metrics(self, categories: tuple[str, ...], decoding: Decoding) -> Sequence[DialogueMetric]:
        """Return new metrics of other protocols, which ``lasagna evaluate`` adds to those of ``metrics``.

        By default they follow from ``kinds``: mean IoU by each protocol and presence for lists of names with one mask
        each, cIoU and gIoU by each protocol for phrases, and none for others or where both are asked.

        Args:
            categories: The categories of the data set.
            decoding: How the answers are decoded.
        """
        from lasagna.tasks.metrics import list_metrics, phrase_metrics

        masked = [kind for kind in self.kinds if kind.masks]
        if masked and all(kind.is_phrase for kind in masked):
            return phrase_metrics(decoding)
        if masked and categories and all(kind.many and not kind.objects for kind in self.kinds):
            return list_metrics(categories, decoding)
        return []

    def score(
        self,
        metrics: MetricCollection,
        samples: Sequence[Sample],
        answers: Sequence[Answer],
        decoding: Decoding = "ordered",
    ) -> None:
        """Update the metrics with answers.

        Calls ``update(dialogue, answer)`` of each metric; those that are ``grouped`` get all dialogues of a record with
        the same group in one call. Override this for metrics that take other arguments.

        Args:
            metrics: The metrics that ``metrics`` returned.
            samples: The queries and the truth; either all of a record or none.
            answers: One answer for each sample.
            decoding: How the answers were decoded; metrics of other decodings are not updated.
        """
        groups: dict[tuple[object, ...], list[tuple[Dialogue, Answer]]] = {}
        for rank, (sample, answer) in enumerate(zip(samples, answers, strict=True)):
            place = (sample.key, sample.dialogue.group) if sample.dialogue.group else (rank,)
            groups.setdefault(place, []).append((sample.dialogue, answer))
        single = [[(sample.dialogue, answer)] for sample, answer in zip(samples, answers, strict=True)]
        for metric in metrics.values():
            if getattr(metric, "decoding", "ordered") == decoding:
                for (dialogue, answer), *further in groups.values() if getattr(metric, "grouped", False) else single:
                    metric.update(dialogue, answer, *further)
