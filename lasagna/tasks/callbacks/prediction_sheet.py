"""A contact sheet of the assistant's answers in a test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from lasagna.core.answer import Answer
from lasagna.core.batch import Sample
from lasagna.core.dialogue import Dialogue
from lasagna.core.storage import whole_file
from lasagna.tasks.callbacks.run_facts import run_folder
from lasagna.tasks.visualization.answer import object_counts, shown_words, truth_entries
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Chosen(Generic[T]):
    key: str
    kind: str
    stand_in: bool
    absent: bool
    example: T


class ExampleChoice(Generic[T]):
    """Chooses answers of each source while they arrive.

    As long as there are other records, each is shown once, whichever source reads it. A phrase without a target takes
    the last place of its source if there is none yet.

    Args:
        room: Number of answers of each source.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._chosen: dict[int, list[_Chosen[T]]] = {}

    @property
    def examples(self) -> list[T]:
        """The chosen examples, source by source."""
        return [chosen.example for _, mine in sorted(self._chosen.items()) for chosen in mine]

    def offer(self, source: int, sample: Sample, make: Callable[[], T]) -> None:
        """Keep an answer if there is a place for it.

        Args:
            source: Position of its source.
            sample: The query and the truth.
            make: Makes the example; called only for answers that are kept.
        """
        mine = self._chosen.setdefault(source, [])
        absent, key = is_without_target(sample.dialogue), sample.key
        place = self._place(mine, key, sample.dialogue.kind, absent)
        if place is not None:
            others = [
                other.key for chosen in self._chosen.values() for other in chosen if other not in mine[place:][:1]
            ]
            mine[place : place + 1] = [_Chosen(key, sample.dialogue.kind, key in others, absent, make())]

    def _place(self, mine: list[_Chosen[T]], key: str, kind: str, absent: bool) -> int | None:
        seen = any(chosen.key == key for chosens in self._chosen.values() for chosen in chosens)
        if len(mine) < self.room:
            twice = any((chosen.key, chosen.kind) == (key, kind) for chosen in mine)
            return None if twice else len(mine)
        if not seen and (stand_ins := [place for place, chosen in enumerate(mine) if chosen.stand_in]):
            return stand_ins[0]
        if absent and not any(chosen.absent for chosen in mine):
            same = [place for place, chosen in enumerate(mine) if chosen.key == key]
            return same[0] if same else None if seen else len(mine) - 1
        return None


def is_without_target(dialogue: Dialogue) -> bool:
    """Return whether a dialogue asks for a phrase that nothing in the image fits."""
    return dialogue.kind.is_phrase and not any(entry.present for entry in dialogue.entries)


SHEET = "predictions.png"


class PredictionSheet(Callback):
    """Draws answers of each source in a test into ``predictions.png``.

    The answers are about different records as far as possible, and include a phrase without a target.

    The module's ``test_step`` must return ``{"samples": list[Sample], "answers": list[Answer], "images":
    list[array]}``, with one answer for each sample, and the images of the batch that samples refer to.

    Args:
        count: Number of answers on the sheet, divided among the sources.
        columns: Answers in a row.

    Raises:
        ValueError: If a number is not positive.
    """

    def __init__(self, count: int = 12, columns: int = 2) -> None:
        """Check the numbers."""
        if count < 1 or columns < 1:
            raise ValueError(f"count and columns must be positive, got {count} and {columns}")
        self.count = count
        self.columns = columns
        self._choice: ExampleChoice[Example] = ExampleChoice(count)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the answers of an earlier test."""
        self._choice = ExampleChoice(math.ceil(self.count / max(1, len(trainer.num_test_batches))))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep answers for the sheet."""
        if not trainer.is_global_zero or not isinstance(outputs, Mapping):
            return
        for sample, answer in zip(outputs["samples"], outputs["answers"], strict=True):
            image = outputs["images"][sample.image]
            self._choice.offer(dataloader_idx, sample, partial(_example, sample, answer, image))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        folder = run_folder(trainer)
        examples = self._choice.examples[: self.count]
        if trainer.is_global_zero and examples and not getattr(trainer, "fast_dev_run", False):
            with whole_file(folder / SHEET) as draft:
                contact_sheet(examples, columns=self.columns).save(draft, "PNG")


def _example(sample: Sample, answer: Answer, image: NDArray[np.uint8]) -> Example:
    dialogue = sample.dialogue
    in_words = not dialogue.kind.masks
    faults = ", ".join(f"{count} {fault}" for fault, count in Counter(answer.faults).items())
    return Example(
        image=np.array(image),
        query=", ".join(dialogue.query),
        entries=answer.entries,
        text=shown_words(dialogue.kind, answer),
        truth=None if in_words else truth_entries(dialogue),
        truth_text=dialogue.text,
        counts=object_counts(dialogue),
        note=" - ".join(part for part in (sample.source, sample.key, faults) if part),
    )
