"""What the pretraining stages share: optimiser, schedule, trainer and a pool of scenes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from lasagna.core.seeding import generator
from lasagna.core.workers import worker_pool
from lasagna.datamodules.scenes import COLOURS, Scene, draw_scene
from lasagna.tasks.training.batch_checks import FiniteLoss


class Stage(LightningModule):
    """A stage of the pretraining, which makes its own batches, each from its own random generator.

    Args:
        name: Name of the stage, for its log.
        steps: Number of optimiser steps.
        lr: Peak learning rate; 5 % of the steps warm up, then a cosine falls to zero.
        weight_decay: Decoupled weight decay.
        seed: Seed of the stage.
    """

    def __init__(self, name: str, steps: int, lr: float, weight_decay: float = 0.02, seed: int = 0) -> None:
        super().__init__()
        self.name = name
        self.steps = steps
        self.lr = lr
        self.weight_decay = weight_decay
        self.seed = seed

    @abstractmethod
    def make_batch(self, rng: np.random.Generator) -> Any:  # noqa: ANN401
        """Make one batch of tensors."""

    @abstractmethod
    def losses(self, batch: Any) -> dict[str, Tensor]:  # noqa: ANN401
        """Return losses and other values by name; "loss" is minimised."""

    def training_step(self, batch: Any, index: int) -> Tensor:  # noqa: ANN401
        """Compute and log the losses of a batch."""
        losses = self.losses(batch)
        self.log_dict(losses, prog_bar=True, batch_size=1)
        return losses["loss"]

    def configure_optimizers(self) -> dict[str, Any]:  # type: ignore[override]
        """Return AdamW with warm-up and a cosine."""
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=self.lr, betas=(0.9, 0.98), weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, total_steps=self.steps + 1, pct_start=0.05, cycle_momentum=False
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def run(self, folder: Path, precision: Any = "bf16-mixed") -> None:  # noqa: ANN401
        """Train for all steps, with a progress bar and a CSV log.

        Args:
            folder: Folder of the log.
            precision: The Trainer's precision.
        """
        trainer = Trainer(
            accelerator="auto",
            max_steps=self.steps,
            precision=precision,
            gradient_clip_val=1.0,
            logger=CSVLogger(folder, name=self.name),
            callbacks=[FiniteLoss()],
            enable_checkpointing=False,
            enable_model_summary=False,
            log_every_n_steps=20,
        )
        trainer.fit(self, DataLoader(_Batches(self), batch_size=None))


class _Batches(IterableDataset[Any]):
    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __iter__(self) -> Iterator[Any]:
        for step in range(self.stage.steps):
            yield self.stage.make_batch(generator(self.stage.seed, 0, f"{self.stage.name}/{step}"))


NO_COLOUR = len(COLOURS)
"""Colour class of pixels without a named colour."""


@dataclass(frozen=True)
class ScenePool:
    """Many scenes as arrays.

    Args:
        scenes: The scenes.
    """

    scenes: list[Scene]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.scenes)

    def images(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return images, uint8 ``[b, size, size, 3]``."""
        return np.stack([self.scenes[index].image for index in indices])

    def labels(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return category maps, ``[b, size, size]``, void as 255."""
        return np.stack([self.scenes[index].labels for index in indices]).astype(np.int64)

    def colours(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return maps of the things' named colours, ``[b, size, size]``."""
        return np.stack([colour_map(self.scenes[index]) for index in indices])


def colour_map(scene: Scene) -> NDArray[np.int64]:
    """Return the named colour of each pixel as its index in ``COLOURS``, ``NO_COLOUR`` elsewhere."""
    codes = [NO_COLOUR, *(COLOURS.index(thing.colour) if thing.colour else NO_COLOUR for thing in scene.things)]
    return np.asarray(codes)[scene.instances]


def draw_pool(count: int, seed: int, processes: int = 2) -> ScenePool:
    """Draw scenes on several processes.

    Args:
        count: Number of scenes.
        seed: Seed, which no evaluation should use.
        processes: Number of processes.
    """
    with worker_pool(processes, method="spawn") as pool:
        drawn = pool.map(_draw, ((seed, index) for index in range(count)), chunksize=64)
        return ScenePool(list(track(drawn, description="drawing scenes", total=count)))


def _draw(place: tuple[int, int]) -> Scene:
    seed, index = place
    return draw_scene(generator(seed, 0, f"pretraining/{index}"))
