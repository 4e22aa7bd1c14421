"""Transforms of albumentations, by config; the package is an extra."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lasagna.datamodules.transforms.library import LibraryTransform
from lasagna.datamodules.transforms.words import PhraseRule
from lasagna.errors import ConfigError

# it would ask a server for its newest version when it is imported
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
try:
    from albumentations import BaseCompose, BasicTransform, Compose
except ImportError:
    Compose = None

Chain: Any = Any if Compose is None else BasicTransform | BaseCompose | list[BasicTransform | BaseCompose]
"""What a config gives; without the package, the constructor says that it is missing."""

MISSING = 'Albumentations: the package albumentations is missing; install it with pip install "lasagna[albumentations]"'


class Albumentations(LibraryTransform):
    """Transforms of albumentations on the images and all masks of a record at once.

    They are a function of seed, epoch and record key: each call gives all of them new generators. The package is an
    extra: ``pip install "lasagna[albumentations]"``.

    Args:
        transforms: One transform or several, in order; ``OneOf`` and other compositions are transforms too.
        phrases: Which phrases stay with a part of the image, as for ``RandomCrop``.

    Raises:
        ConfigError: If the package is missing, one is no transform of albumentations, or the transforms do not work
            together (see ``LibraryTransform``).
    """

    remedy = "The image processor of the vision encoder scales and normalises; leave Normalize and ToTensorV2 out"

    def __init__(self, transforms: Chain, phrases: PhraseRule = "drop") -> None:
        if Compose is None:
            raise ConfigError(MISSING)
        chain = list(transforms) if isinstance(transforms, list | tuple) else [transforms]
        if wrong := [transform for transform in chain if not isinstance(transform, BasicTransform | BaseCompose)]:
            raise ConfigError(f"Albumentations: `transforms` takes transforms of albumentations, got {wrong[0]}")
        self.chain = Compose(chain)
        super().__init__(phrases)

    def change(
        self, images: Sequence[NDArray[np.uint8]], planes: NDArray[np.float32], seed: int
    ) -> tuple[list[Any], Any]:
        """Change images and a mask with the same random parameters."""
        others = {f"image{rank}": image for rank, image in enumerate(images[1:], 1)}
        self.chain.add_targets(dict.fromkeys(others, "image"))
        self.chain.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed = self.chain(image=images[0], mask=planes, **others)
        return [changed["image"], *(changed[name] for name in others)], changed["mask"]
