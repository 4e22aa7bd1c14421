"""A contact sheet of what the assistant answered in a test."""

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

from lasagna.core.batch import Sample
from lasagna.core.dialogue import Answer, Dialogue
from lasagna.tasks.callbacks.run_facts import run_folder
from lasagna.tasks.visualization.answer import truth_entries
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Chosen(Generic[T]):
    key: str
    kind: str
    stand_in: bool
    absent: bool
    case: T


class ExampleChoice(Generic[T]):
    """Chooses among answers as they come.

    A record is shown once, whichever source reads it, while there are others; and one phrase that fits nothing takes
    the last place of its source, if none is among the first.

    Args:
        room: Answers of each source.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._chosen: dict[int, list[_Chosen[T]]] = {}

    @property
    def cases(self) -> list[T]:
        """What was chosen, source by source."""
        return [chosen.case for _, mine in sorted(self._chosen.items()) for chosen in mine]

    def offer(self, source: int, sample: Sample, make: Callable[[], T]) -> None:
        """Take an answer if it has a place.

        Args:
            source: Position of its source.
            sample: What was asked.
            make: Makes the case to show; called for answers that are taken.
        """
        mine = self._chosen.setdefault(source, [])
        absent, key = fits_nothing(sample.dialogue), sample.key
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


def fits_nothing(dialogue: Dialogue) -> bool:
    """Tell whether a dialogue asks for one phrase that nothing in the picture fits."""
    asked = dialogue.kind in ("referring", "reasoning", "reasoning_with_explanation")
    return asked and not any(entry.present for entry in dialogue.entries)


SHEET = "predictions.png"


class PredictionSheet(Callback):
    """Collects answers of each source in a test and draws them into ``predictions.png``.

    They are about different records as far as possible, and one phrase that fits nothing is among them.

    The module's ``test_step`` returns ``{"samples": list[Sample], "answers": list[Answer], "images": list[array]}``,
    one answer for each sample, and the images of the batch that samples point to.

    Args:
        count: Number of answers on the sheet, shared out among the sources.
        columns: Answers in a row.

    Raises:
        ValueError: If one of them is not positive.
    """

    def __init__(self, count: int = 12, columns: int = 2) -> None:
        """Check the numbers."""
        if count < 1 or columns < 1:
            raise ValueError(f"count and columns must be positive, got {count} and {columns}")
        self.count = count
        self.columns = columns
        self._choice: ExampleChoice[Example] = ExampleChoice(count)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what an earlier test collected."""
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
        """Keep the answers that have a place on the sheet."""
        if not trainer.is_global_zero or not isinstance(outputs, Mapping):
            return
        for sample, answer in zip(outputs["samples"], outputs["answers"], strict=True):
            image = outputs["images"][sample.image]
            self._choice.offer(dataloader_idx, sample, partial(_case, sample, answer, image))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        folder = run_folder(trainer)
        cases = self._choice.cases[: self.count]
        if trainer.is_global_zero and cases and not getattr(trainer, "fast_dev_run", False):
            folder.mkdir(parents=True, exist_ok=True)
            contact_sheet(cases, columns=self.columns).save(folder / SHEET)


def _case(sample: Sample, answer: Answer, image: NDArray[np.uint8]) -> Example:
    dialogue = sample.dialogue
    worded = dialogue.kind == "question"
    faults = ", ".join(f"{count} {fault}" for fault, count in Counter(answer.faults).items())
    return Example(
        image=np.array(image),
        query=", ".join(dialogue.query),
        entries=answer.entries,
        text=answer.text if worded else "",
        truth=None if worded else truth_entries(dialogue),
        truth_text=dialogue.text,
        note=" - ".join(part for part in (sample.source, sample.key, faults) if part),
    )
