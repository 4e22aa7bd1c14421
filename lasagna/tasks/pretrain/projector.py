"""Stage 3: the projector learns to express the content of each cell in the language model's word embeddings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lasagna.modules.tiny.vision_encoder import TinyVisionEncoder
from lasagna.tasks.pretrain.language_model import ReadingStage
from lasagna.tasks.pretrain.stage import ScenePool, Stage
from lasagna.tasks.pretrain.text_rows import symbol_grid
from lasagna.tasks.pretrain.vision_encoder import relight

ProjectorBatch = tuple[Tensor, Tensor]


class ProjectorStage(Stage):
    """Regress the content of each cell; encoder and language model are frozen (LLaVA's first stage in small).

    Args:
        pool: Scenes to learn from.
        reading: The trained language model with its words for symbols.
        steps: Number of optimiser steps.
        batch_size: Images per step.
        name: Name of the stage, for its log and its random numbers.
    """

    def __init__(
        self,
        pool: ScenePool,
        reading: ReadingStage,
        steps: int = 1500,
        batch_size: int = 32,
        name: str = "projector",
    ) -> None:
        super().__init__(name, steps, lr=3e-3)
        self.pool = pool
        self.batch_size = batch_size
        self.encoder = TinyVisionEncoder()
        self.encoder.build()
        self.projector = reading.model.projector
        self.projector.requires_grad_(False)
        self.projector.layers.requires_grad_(True)
        self.words = _symbol_vectors(reading)

    def make_batch(self, rng: np.random.Generator) -> ProjectorBatch:
        """Return images and the symbols of their cells."""
        chosen = rng.integers(len(self.pool), size=self.batch_size)
        images = relight(self.pool.images(chosen), rng)
        symbols = np.stack([symbol_grid(self.pool.scenes[index]) for index in chosen])
        pixels = torch.stack([self.encoder.image_processor.pixels(image) for image in images])
        return pixels, torch.from_numpy(symbols.astype(np.float32))

    def losses(self, batch: ProjectorBatch) -> dict[str, Tensor]:
        """Return the squared error relative to the variance of the target."""
        pixels, symbols = batch
        target = symbols @ self.words.to(symbols)
        predicted = self.projector.content(self.encoder(pixels)[0]).float()
        error = nn.functional.mse_loss(predicted, target) / target.var(unbiased=False)
        return {"loss": error}


@torch.no_grad()
def _symbol_vectors(reading: ReadingStage) -> Tensor:
    """Return the vector that each symbol adds to a cell, ``[s, d]``."""
    count = len(reading.names)
    return reading.content(torch.eye(count)[None], torch.from_numpy(reading.names)[None])[0].detach().clone()
