"""The language model's own visual tower as the vision encoder, so that one encoder serves both.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height and width of the map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.geometry import Geometry
from lasagna.core.processors import ImageProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, LanguageModel, VisionEncoder, VisualTower

NO_MAPS = FeatureSpec((), (), (0, 0))
"""The maps for a language model whose tower is shared, which reads no others."""


class SharedTower(VisionEncoder):
    """Shares the language model's visual tower with the mask head; the tower runs once per image.

    The mask head reads the tower's patches before the projector as one map, and the language model turns the same map
    into its image tokens. The tower is not trained. There are no finer maps, so that the resolution of masks depends on
    the head: four times that of the patches with the heads of this package.

    The assistant calls ``join`` once the language model is built.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tower: VisualTower | None = None

    def check(self, language_model: LanguageModel) -> None:
        """Check, before anything is built, that there is a tower.

        Raises:
            ConfigError: If the language model has none.
        """
        if not language_model.has_tower:
            raise ConfigError(
                "vision_encoder: SharedTower reads the language model's own visual tower, and "
                f"{type(language_model).__name__} has none; take an ImageTextModel or LlavaV1 as language_model, or a "
                "vision encoder with weights of its own"
            )

    def join(self, language_model: LanguageModel) -> None:
        """Take the tower of a language model that is built.

        Raises:
            ConfigError: If it has none, or one whose patches form no grid.
        """
        self.tower = language_model.tower

    @property
    def spec(self) -> FeatureSpec:
        """The tower's map."""
        return self._joined.spec

    @property
    def image_processor(self) -> ImageProcessor:
        """The tower's image processor, without the border of the input that its patches do not cover."""
        return patch_aligned(self._joined.image_processor, self.spec.image_size)

    @property
    def cache_key(self) -> str:
        """What the tower's map depends on besides weights and pixels."""
        return self._joined.cache_key

    def build(self) -> None:
        """Do nothing, since the language model makes the tower."""

    def train(self, mode: bool = True) -> SharedTower:
        """Stay in evaluation mode, since the tower is not trained."""
        return super().train(False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` to the tower's map ``[b, c, h, w]``."""
        with torch.no_grad():
            return [self._joined(pixels)]

    @property
    def _joined(self) -> VisualTower:
        if self.tower is None:
            raise RuntimeError("SharedTower: the tower is known after join(language_model); call join() first")
        return self.tower


@dataclass(frozen=True)
class PatchAlignedImageProcessor:
    """An image processor of whose input an encoder reads the upper left part that its patches cover.

    Args:
        full: The image processor.
        covered: Height and width of the part that is read, in pixels.
    """

    full: ImageProcessor
    covered: tuple[int, int]

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Return how an image of a given height and width is fitted, and which part of it is read."""
        fitted = self.full.geometry(size)
        resized = (min(fitted.resized[0], self.covered[0]), min(fitted.resized[1], self.covered[1]))
        top, left, *shown = fitted.seen or (0, 0, *size)
        height, width = (
            max(1, round(side * part / total)) for side, part, total in zip(shown, resized, fitted.resized, strict=True)
        )
        return replace(fitted, resized=resized, padded=self.covered, seen=(top, left, height, width))

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image ``[h, w, 3]`` into the encoder's input, float ``[3, H, W]``, all of it."""
        return self.full.pixels(image)


def patch_aligned(image_processor: ImageProcessor, covered: tuple[int, int]) -> ImageProcessor:
    """Return an image processor whose geometry says which part of the input an encoder reads.

    Args:
        image_processor: The image processor of the whole input.
        covered: Height and width of the part that is read in pixels, at most those of the input.
    """
    complete = image_processor.geometry(covered).padded == covered
    return image_processor if complete else PatchAlignedImageProcessor(image_processor, covered)
