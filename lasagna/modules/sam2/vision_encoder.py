"""SAM 2's image encoder as a vision encoder."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor
from transformers import Sam2VisionConfig

from lasagna.core.processors import ImageProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.image_processors import SquashImageProcessor
from lasagna.modules.sam2.networks import Sam2ImageEncoder
from lasagna.modules.sam2.sizes import PRESETS, Name, Sam2Size
from lasagna.modules.sam2.weights import read_sam2, read_vision_config
from lasagna.modules.vision_encoders.lora import VisionLoRA

STRIDES = (16, 8, 4)


class Sam2VisionEncoder(VisionEncoder):
    """Three maps at strides 16, 8 and 4 (SAM 2, arXiv 2408.00714), through transformers' ``Sam2VisionModel``.

    The maps are those that SAM 2 keeps for its mask decoder; see ``Sam2ImageEncoder``. The code and
    weights of SAM 2 are under the Apache License 2.0.

    Args:
        size: A published size or custom sizes; None for those of ``checkpoint``, or "hiera_tiny".
        checkpoint: Folder in transformers' layout, of an image or a video model; an original checkpoint
            (``sam2.1_hiera_tiny.pt``), or a file of a model that contains one; or a name on the hub. None for
            random weights.
        image_size: Height and width of the input in pixels; None for those of ``checkpoint``, or 1024 by 1024.
        frozen: Whether the encoder keeps its weights in training.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
        download: Whether missing files may be downloaded from the hub.
        adapter: Low-rank adapters, which are trained while all other weights are frozen; None for none.
    """

    def __init__(
        self,
        size: Name | Sam2Size | None = None,
        checkpoint: str | None = None,
        image_size: tuple[int, int] | None = None,
        frozen: bool = True,
        recompute: bool = False,
        download: bool = False,
        adapter: VisionLoRA | None = None,
    ) -> None:
        super().__init__()
        if isinstance(size, str) and size not in PRESETS:
            raise ConfigError(f"size: there is no {size!r}; take one of {', '.join(PRESETS)}, or a Sam2Size")
        self.size = size
        self.checkpoint = checkpoint
        self.image_size = image_size
        self.frozen = frozen
        self.recompute = recompute
        self.adapter = adapter
        self.learns = adapter is not None or not frozen
        self.download = download

    @cached_property
    def config(self) -> Sam2VisionConfig:
        """Transformers' settings of the encoder; those of ``checkpoint`` are read on first use."""
        if isinstance(self.size, Sam2Size):
            return self.size.config()
        if self.size is None and self.checkpoint is not None:
            return read_vision_config(self.checkpoint, self.download)
        return PRESETS[self.size or "hiera_tiny"].config()

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the input in pixels.

        Raises:
            ConfigError: If they are not multiples of the strides and of the windows of the first stage.
        """
        hiera = self.config.backbone_config
        own = (hiera.image_size,) * 2 if isinstance(hiera.image_size, int) else tuple(hiera.image_size)
        height, width = own if self.image_size is None else self.image_size
        unit = math.lcm(2 * STRIDES[0], STRIDES[-1] * hiera.window_size_per_stage[0])
        if any(side < 1 or side % unit for side in (height, width)):
            near = tuple(max(1, round(side / unit)) * unit for side in (height, width))
            raise ConfigError(f"image_size: {height, width} must be multiples of {unit}; the nearest is {near}")
        return height, width

    @property
    def spec(self) -> FeatureSpec:
        """The main map, and two finer ones with the channels that the mask decoder reads."""
        width = self.config.fpn_hidden_size
        return FeatureSpec((width, width // 4, width // 8), STRIDES, self.sides)

    @property
    def image_processor(self) -> ImageProcessor:
        """Resize without keeping the aspect ratio, and normalise by ImageNet's mean and deviation."""
        return SquashImageProcessor(self.sides, IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)

    def build(self) -> None:
        """Make the layers and load the weights.

        Raises:
            ConfigError: If ``checkpoint`` is missing or of another kind of model, or has no layers for the adapter.
            CheckpointError: If ``checkpoint`` is unreadable, incomplete or of other sizes.
        """

        def network() -> Sam2ImageEncoder:
            return Sam2ImageEncoder(self.config, self.recompute)

        if self.checkpoint is None:
            self.image_encoder = network()
        else:
            self.image_encoder = read_sam2(self.checkpoint, self.download).made_with(network)
        if self.adapter is not None:
            self.adapter.inject(self.image_encoder)
        elif self.frozen:
            self.freeze()

    def train(self, mode: bool = True) -> Sam2VisionEncoder:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and self.learns)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` into the maps that ``spec`` announces."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns):
            maps: list[Tensor] = self.image_encoder(pixels)
        return maps
