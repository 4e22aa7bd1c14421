"""Stage 1: the vision encoder learns to classify the category and the colour of every pixel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lasagna.datamodules.scenes import CATEGORIES, COLOURS, VOID
from lasagna.modules.tiny.vision_encoder import TinyVisionEncoder
from lasagna.tasks.pretrain.stage import ScenePool, Stage

EncoderBatch = tuple[Tensor, Tensor, Tensor]


class EncoderStage(Stage):
    """Dense classification at strides 8 and 4, and classification of the categories in the image.

    Args:
        pool: Scenes to learn from.
        steps: Number of optimiser steps.
        batch_size: Images per step.
    """

    def __init__(self, pool: ScenePool, steps: int = 5000, batch_size: int = 32) -> None:
        super().__init__("vision_encoder", steps, lr=4e-3, weight_decay=0.05)
        self.pool = pool
        self.batch_size = batch_size
        self.encoder = TinyVisionEncoder(weights="random", frozen=False)
        self.encoder.build()
        coarse, fine, _ = self.encoder.spec.channels
        self.categories = nn.ModuleList([nn.Conv2d(coarse, len(CATEGORIES), 1), nn.Conv2d(fine, len(CATEGORIES), 1)])
        self.colours = nn.ModuleList([nn.Conv2d(coarse, len(COLOURS) + 1, 1), nn.Conv2d(fine, len(COLOURS) + 1, 1)])
        self.register_buffer("category_weight", _balance(pool.labels(np.arange(min(2000, len(pool))))))
        self.category_weight: Tensor

    def make_batch(self, rng: np.random.Generator) -> EncoderBatch:
        """Return images, category maps and colour maps, with random flips, brightness and colour cast."""
        chosen = rng.integers(len(self.pool), size=self.batch_size)
        images = relight(self.pool.images(chosen), rng)
        labels, colours = self.pool.labels(chosen), self.pool.colours(chosen)
        if rng.random() < 0.5:
            images, labels, colours = images[:, :, ::-1], labels[:, :, ::-1], colours[:, :, ::-1]
        pixels = torch.stack([self.encoder.image_processor.pixels(image) for image in images])
        return pixels, torch.from_numpy(labels.copy()), torch.from_numpy(colours.copy())

    def losses(self, batch: EncoderBatch) -> dict[str, Tensor]:
        """Return the losses at both strides, and that of the image."""
        pixels, labels, colours = batch
        maps = self.encoder(pixels)
        losses = {"loss": torch.zeros(())}
        for rank, (stride, weight) in enumerate(((8, 0.5), (4, 1.0))):
            small, small_colours = (
                labels[:, stride // 2 :: stride, stride // 2 :: stride],
                colours[:, stride // 2 :: stride, stride // 2 :: stride],
            )
            logits = self.categories[rank](maps[rank]).float()
            losses[f"category_{stride}"] = nn.functional.cross_entropy(
                logits, small, self.category_weight, ignore_index=VOID
            )
            losses[f"colour_{stride}"] = nn.functional.cross_entropy(
                self.colours[rank](maps[rank]).float(), small_colours
            )
            losses["loss"] = losses["loss"] + weight * (losses[f"category_{stride}"] + losses[f"colour_{stride}"])
        present = torch.zeros(len(labels), VOID + 1).scatter_(1, labels.flatten(1), 1.0)[:, : len(CATEGORIES)]
        losses["picture"] = nn.functional.binary_cross_entropy_with_logits(
            self.categories[0](maps[0]).float().amax((2, 3)), present
        )
        losses["loss"] = losses["loss"] + 2 * losses["picture"]
        counted = small != VOID
        losses["accuracy"] = (logits.argmax(1) == small)[counted].float().mean()
        return losses


def relight(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change brightness and colour cast of each image a little, uint8 ``[b, h, w, 3]``."""
    gain = rng.uniform(0.85, 1.15, (len(images), 1, 1, 1)) * rng.uniform(0.95, 1.05, (len(images), 1, 1, 3))
    return np.clip(images * gain.astype(np.float32), 0, 255).astype(np.uint8)


def _balance(labels: NDArray[np.int64]) -> Tensor:
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)[: len(CATEGORIES)].clip(1)
    weight = torch.from_numpy(counts.sum() / counts).float().sqrt()
    return weight / weight.mean()
