"""SAM's image encoder as a vision encoder."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from lasagna.core.processors import ImageProcessor
from lasagna.core.weights import reads_weights
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.image_processors import SamImageProcessor
from lasagna.modules.sam.image_encoder import ImageEncoderViT
from lasagna.modules.sam.sizes import PRESETS, SamSize, encoder_size
from lasagna.modules.sam.weights import made_with, read_sam
from lasagna.modules.vision_encoders.lora import VisionLoRA


class SamVisionEncoder(VisionEncoder):
    """One map at stride 16 (Segment Anything, arXiv 2304.02643).

    The state dict has the names of the original checkpoints (``image_encoder.*``). Maps equal those of the original
    code up to rounding.

    Args:
        size: "vit_b", "vit_l", "vit_h", or custom sizes; None for those of ``weights_file``, or "vit_b".
        weights_file: Checkpoint of SAM in its original names (``sam_vit_b_01ec64.pth`` and the like), or of a model
            that holds one, such as a LaSagnA release; ``.safetensors`` or PyTorch. None for random weights.
        frozen: Whether the encoder keeps its weights in training.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
        adapter: Low-rank adapters, which are trained while all other weights are frozen; None for none.
    """

    def __init__(
        self,
        size: Literal["vit_b", "vit_l", "vit_h"] | SamSize | None = None,
        weights_file: str | None = None,
        frozen: bool = True,
        recompute: bool = False,
        adapter: VisionLoRA | None = None,
    ) -> None:
        super().__init__()
        if isinstance(size, str) and size not in PRESETS:
            raise ConfigError(f"size: there is no {size!r}; take one of {', '.join(PRESETS)}, or a SamSize")
        self.size = size
        self.weights_file = weights_file
        self.frozen = frozen
        self.recompute = recompute
        self.adapter = adapter
        self.learns = adapter is not None or not frozen

    @cached_property
    def sizes(self) -> SamSize:
        """The sizes; those of a file are read from it on first use."""
        if isinstance(self.size, SamSize):
            return self.size
        if self.size is None and self.weights_file is not None:
            tensors = read_sam(self.weights_file)
            return encoder_size({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        return PRESETS[self.size or "vit_b"]

    @property
    def spec(self) -> FeatureSpec:
        """One map, whose stride is the patch size."""
        sizes = self.sizes
        return FeatureSpec((sizes.out_channels,), (sizes.patch,), (sizes.image_size, sizes.image_size))

    @property
    def image_processor(self) -> ImageProcessor:
        """SAM's image processor: longest side to the input's size, normalised, zeros at right and bottom."""
        return SamImageProcessor(self.sizes.image_size)

    def build(self) -> None:
        """Make the layers and load the weights.

        Raises:
            ConfigError: If there are no layers for the adapter.
            CheckpointError: If ``weights_file`` is missing, unreadable, incomplete or of other sizes.
        """
        state = read_sam(self.weights_file) if self.weights_file is not None and reads_weights() else None
        self.image_encoder = made_with(
            lambda: ImageEncoderViT(self.sizes, self.recompute), state, "image_encoder.", self.weights_file
        )
        if self.adapter is not None:
            self.adapter.inject(self.image_encoder)
        elif self.frozen:
            self.freeze()

    def train(self, mode: bool = True) -> SamVisionEncoder:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and self.learns)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` into one map ``[b, c, h, w]``."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns):
            return [self.image_encoder(pixels)]
