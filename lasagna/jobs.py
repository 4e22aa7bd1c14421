"""The trainer of the command line: Lightning's, and the main job in one go."""

from __future__ import annotations

from lightning import Callback, LightningDataModule, LightningModule, Trainer

from lasagna.datamodules import ShardDataModule
from lasagna.tasks.evaluation import Evaluation


class Rehearsal(Callback):
    """Checks before training what the test after it will need, since that comes much later."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the shards of the test, and that its tasks can score."""
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, ShardDataModule):
            data.setup("test")
            Evaluation(data.sources["test"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Try a few records of each test source, now that the data knows the assistant."""
        data = getattr(trainer, "datamodule", None)
        if isinstance(data, ShardDataModule):
            data.rehearse("test")


class JobTrainer(Trainer):
    """Lightning's trainer with one more job."""

    def run(
        self,
        model: LightningModule,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train, then test: the main job. What the test needs is checked before training.

        Args:
            model: What is trained.
            datamodule: Where samples come from.
            ckpt_path: A checkpoint to go on from: a path, or "last" for the newest one of the run's folder.
            weights_only: Whether the checkpoint may hold weights and plain data alone.
        """
        callbacks = vars(self)["callbacks"]
        callbacks.append(Rehearsal())
        self.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=weights_only)
        if not self.interrupted:
            self.test(model, datamodule=datamodule, verbose=False)
