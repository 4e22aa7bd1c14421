"""Stage 4: the mask head learns to draw what a point or a word means, without a language model.

Notation: n: prompts; d: width of a prompt; f: sines and cosines of a point.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lasagna.core.geometry import IGNORE_PIXEL
from lasagna.datamodules.scenes import CATEGORIES, COLOURS, THINGS, VOID, Scene
from lasagna.modules.mask_terms import mask_terms
from lasagna.modules.tiny.mask_head import TinyMaskHead
from lasagna.modules.tiny.vision_encoder import TinyVisionEncoder
from lasagna.tasks.pretrain.stage import ScenePool, Stage
from lasagna.tasks.pretrain.vision_encoder import relight

WAVES = 6


class Prompt(NamedTuple):
    """A prompt as numbers.

    Args:
        category: Index of a category, or ``len(CATEGORIES)`` for none.
        colour: Index of a colour, or ``len(COLOURS)`` for none.
        point: Row and column in [0, 1], or (-1, -1) for none.
        mask: The mask that it means, uint8 ``[size, size]``: 0, 1, or 255 for ignored.
    """

    category: int
    colour: int
    point: tuple[float, float]
    mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]]


MaskBatch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class MaskHeadStage(Stage):
    """Draw masks for a category, a category with a colour, or a point on a thing; prompt embeddings are discarded.

    Args:
        pool: Scenes to learn from.
        steps: Number of optimiser steps.
        batch_size: Images per step.
        prompts: Prompts per image.
    """

    def __init__(self, pool: ScenePool, steps: int = 2500, batch_size: int = 24, prompts: int = 3) -> None:
        super().__init__("mask_head", steps, lr=2e-3)
        self.pool = pool
        self.batch_size = batch_size
        self.prompts = prompts
        self.encoder = TinyVisionEncoder()
        self.encoder.build()
        self.head = TinyMaskHead(weights="random")
        self.head.build(self.encoder.spec)
        self.categories = nn.Embedding(len(CATEGORIES) + 1, self.head.prompt_dim)
        self.colours = nn.Embedding(len(COLOURS) + 1, self.head.prompt_dim)
        self.points = nn.Linear(4 * WAVES, self.head.prompt_dim)

    def make_batch(self, rng: np.random.Generator) -> MaskBatch:
        """Return images, prompts and masks."""
        chosen = rng.integers(len(self.pool), size=self.batch_size)
        images = relight(self.pool.images(chosen), rng)
        made = [_prompt(self.pool.scenes[index], rng) for index in chosen for _ in range(self.prompts)]
        return (
            torch.stack([self.encoder.image_processor.pixels(image) for image in images]),
            torch.arange(self.batch_size).repeat_interleave(self.prompts),
            torch.tensor([prompt.category for prompt in made]),
            torch.tensor([prompt.colour for prompt in made]),
            torch.tensor([prompt.point for prompt in made]),
            torch.from_numpy(np.stack([prompt.mask for prompt in made])),
        )

    def losses(self, batch: MaskBatch) -> dict[str, Tensor]:
        """Return the assistant's mask losses."""
        pixels, index, categories, colours, points, masks = batch
        prompts = self.categories(categories) + self.colours(colours)
        prompts = prompts + self.points(_point_waves(points)) * (points >= 0).all(1, keepdim=True)
        logits = self.head(self.encoder(pixels), prompts, index)
        logits = nn.functional.interpolate(logits[:, None].float(), size=masks.shape[1:], mode="bilinear")[:, 0]
        bce, dice = (terms.mean() for terms in mask_terms(logits, masks))
        return {"loss": 2 * bce + 0.5 * dice, "bce": bce, "dice": dice}


def _prompt(scene: Scene, rng: np.random.Generator) -> Prompt:
    if not scene.things or rng.random() < 0.35:
        name = scene.present[rng.integers(len(scene.present))]
        return Prompt(CATEGORIES.index(name), len(COLOURS), (-1, -1), _target(scene, scene.category_mask([name])))
    chosen = int(rng.integers(len(scene.things)))
    thing = scene.things[chosen]
    category = len(CATEGORIES) - len(THINGS) + THINGS.index(thing.name)
    if thing.colour and rng.random() < 0.4:
        alike = [
            rank for rank, other in enumerate(scene.things) if (other.name, other.colour) == (thing.name, thing.colour)
        ]
        return Prompt(category, COLOURS.index(thing.colour), (-1, -1), _target(scene, scene.mask(alike)))
    mask = scene.mask([chosen])
    rows, columns = np.nonzero(mask)
    place = int(rng.integers(len(rows)))
    point = (float(rows[place] + 0.5) / scene.size, float(columns[place] + 0.5) / scene.size)
    named = category if rng.random() < 0.7 else len(CATEGORIES)
    return Prompt(named, len(COLOURS), point, _target(scene, mask))


def _target(
    scene: Scene, mask: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.where(scene.labels == VOID, IGNORE_PIXEL, mask).astype(np.uint8)


def _point_waves(points: Tensor) -> Tensor:
    angles = points[:, :, None] * torch.pi * 2.0 ** torch.arange(WAVES)
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
