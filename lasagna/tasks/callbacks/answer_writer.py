"""Write the answers of ``predict`` into a file, one JSON object per line."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from lasagna.core.storage import json_text, write_text, writing
from lasagna.tasks.callbacks.run_facts import run_folder

ANSWERS = "answers.jsonl"


class AnswerWriter(Callback):
    """Writes the answers that ``predict_step`` returns into ``answers.jsonl`` in the run's folder, batch by batch.

    In distributed runs each process after the first writes a file of its own, with its rank in the name.
    """

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Create an empty file."""
        folder = run_folder(trainer)
        rank = f".{trainer.global_rank}" if trainer.global_rank else ""
        self.file = folder / f"{ANSWERS}{rank}"
        write_text(self.file, "")

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append the answers of a batch."""
        with writing(self.file), self.file.open("a", encoding="utf-8") as stream:
            stream.writelines(json_text(answer) + "\n" for answer in outputs)
