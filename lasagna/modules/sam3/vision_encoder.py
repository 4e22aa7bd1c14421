"""SAM 3's image encoder as a vision encoder."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from transformers import Sam3VisionConfig, Sam3VisionModel

from lasagna.core.processors import ImageProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.image_processors import SquashImageProcessor
from lasagna.modules.sam2.networks import NoPositions
from lasagna.modules.sam3.sizes import FINER, Sam3Size
from lasagna.modules.sam3.weights import read_settings, vision_model
from lasagna.modules.vision_encoders.lora import VisionLoRA
from lasagna.modules.vision_encoders.timm import recompute_blocks

MIDDLE = (0.5, 0.5, 0.5)
"""Mean and deviation of the channels."""


class Sam3VisionEncoder(VisionEncoder):
    """Three maps at strides 14, 7 and 3.5 (SAM 3, arXiv 2511.16719), through transformers' ``Sam3VisionModel``.

    The weights of SAM 3 are under Meta's SAM License, which is accepted on the hub.

    Args:
        size: Custom sizes; None for those of ``checkpoint``, or the published ones.
        checkpoint: Folder in transformers' layout, of an image or a video model, or a name on the hub
            ("facebook/sam3"). None for random weights.
        image_size: Side of the square input in pixels, a multiple of 14; None for that of ``checkpoint``, or 1008.
        frozen: Whether the encoder keeps its weights in training.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
        download: Whether missing files may be downloaded from the hub.
        adapter: Low-rank adapters, which are trained while all other weights are frozen; None for none.
    """

    def __init__(
        self,
        size: Sam3Size | None = None,
        checkpoint: str | None = None,
        image_size: int | None = None,
        frozen: bool = True,
        recompute: bool = False,
        download: bool = False,
        adapter: VisionLoRA | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.checkpoint = checkpoint
        self.image_size = image_size
        self.frozen = frozen
        self.recompute = recompute
        self.download = download
        self.adapter = adapter
        self.learns = adapter is not None or not frozen

    @cached_property
    def config(self) -> Sam3VisionConfig:
        """Transformers' settings of the encoder; those of ``checkpoint`` are read on first use.

        Raises:
            ConfigError: If the input is no multiple of the patches.
        """
        if self.size is None and self.checkpoint is not None:
            config = read_settings(self.checkpoint, self.download).vision_config
        else:
            config = (self.size or Sam3Size()).config()
        side = config.backbone_config.image_size if self.image_size is None else self.image_size
        patch = config.backbone_config.patch_size
        if side < 1 or side % patch:
            near = max(1, round(side / patch)) * patch
            raise ConfigError(f"image_size: {side} must be a multiple of {patch}; the nearest is {near}")
        config.backbone_config.image_size = side
        config.scale_factors = list(FINER)
        return config

    @property
    def spec(self) -> FeatureSpec:
        """The main map at the size of the patches, and two finer ones, all equally wide."""
        patch, side = self.config.backbone_config.patch_size, self.config.backbone_config.image_size
        strides = (patch / factor for factor in reversed(FINER))
        whole = tuple(int(stride) if stride.is_integer() else stride for stride in strides)
        return FeatureSpec((self.config.fpn_hidden_size,) * len(FINER), whole, (side, side))

    @property
    def image_processor(self) -> ImageProcessor:
        """Resize without keeping the aspect ratio, values in [-1, 1]."""
        return SquashImageProcessor(self.spec.image_size, MIDDLE, MIDDLE)

    def build(self) -> None:
        """Make the layers and load the weights.

        Raises:
            ConfigError: If ``checkpoint`` is missing or of another kind of model, or has no layers for the adapter.
            CheckpointError: If ``checkpoint`` is unreadable, incomplete or of other sizes.
        """
        if self.checkpoint is None:
            self.network = Sam3VisionModel(self.config)
        else:
            self.network = vision_model(self.config, self.checkpoint, self.download)
        self.network.neck.position_encoding = NoPositions()
        if self.adapter is not None:
            self.adapter.inject(self.network)
        if not self.learns:
            self.freeze()
        elif self.recompute:
            recompute_blocks(self.network.backbone, "sam3")

    def train(self, mode: bool = True) -> Sam3VisionEncoder:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and self.learns)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` into the maps that ``spec`` announces."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns):
            return list(reversed(self.network(pixels).fpn_hidden_states))
