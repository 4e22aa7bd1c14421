"""The trainer of the command line: Lightning's, and the main job in one go."""

from __future__ import annotations

from lightning import LightningDataModule, LightningModule, Trainer


class JobTrainer(Trainer):
    """Lightning's trainer with one more job."""

    def run(
        self,
        model: LightningModule,
        datamodule: LightningDataModule,
        ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train, then test: the main job.

        Args:
            model: What is trained.
            datamodule: Where samples come from.
            ckpt_path: A checkpoint to go on from: a path, or "last" for the newest one of the run's folder.
            weights_only: Whether the checkpoint may hold weights and plain data alone.
        """
        self.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=weights_only)
        if not self.interrupted:
            self.test(model, datamodule=datamodule, verbose=False)
