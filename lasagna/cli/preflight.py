"""What the test after a training needs, checked before it."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningDataModule, LightningModule, Trainer

from lasagna.datamodules.protocols import DataWithSources
from lasagna.errors import ConfigError
from lasagna.tasks.training.source_scores import Evaluation


class PreflightCheck(Callback):
    """Checks before training what the test after it needs, so that errors come early."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check that the shards of the test are there and that its tasks can be scored."""
        data = getattr(trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, LightningDataModule) and isinstance(data, DataWithSources):
            data.setup("test")
            if not data.sources.get("test"):
                raise ConfigError("data.test: there are no sources; list at least one, or give the job `fit`")
            Evaluation(data.sources["test"], getattr(pl_module, "assistant", None))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare a few records of each test source, now that the data are connected to the assistant."""
        data: Any = getattr(trainer, "datamodule", None)
        if hasattr(data, "dry_run"):
            data.dry_run("test")
