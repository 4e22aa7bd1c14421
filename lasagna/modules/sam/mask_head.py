"""SAM's prompt encoder and mask decoder as a mask head, prompted by vectors.

Notation: b: images; n: prompts; d: width of a prompt; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, MaskHead
from lasagna.modules.sam.by_image import draw_by_image
from lasagna.modules.sam.mask_network import MaskNetwork
from lasagna.modules.sam.prompt_network import PromptNetwork
from lasagna.modules.sam.sizes import SamHeadSize, head_size
from lasagna.modules.sam.weights import made_with, read_sam

HEADS = 4
"""Heads that suit every width of prompts."""


class SamMaskHead(MaskHead):
    """Each prompt stands where SAM has a point or a box (arXiv 2304.02643; LISA, arXiv 2308.00692).

    Its state dict has the names of the original checkpoints (``prompt_encoder.*``, ``mask_decoder.*``). Masks are the
    first of SAM's four, up to rounding; what they do not need is not computed. The prompt encoder is not trained.

    Args:
        weights_file: Checkpoint of SAM in its original names, or of a model that holds one, such as a LaSagnA release;
            ``.safetensors`` or PyTorch. None for random weights.
        size: Sizes of your own; None for those of ``weights_file``, or the published ones.
        chunk: Most prompts of one image decoded at once, which bounds the memory.
        recompute: Whether training decodes each chunk a second time rather than keep what it computed; less memory.
    """

    def __init__(
        self,
        weights_file: str | None = None,
        size: SamHeadSize | None = None,
        chunk: int = 16,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk: expected at least 1 prompt at once, got {chunk}")
        self.weights_file = weights_file
        self.size = size
        self.chunk = chunk
        self.recompute = recompute

    @cached_property
    def sizes(self) -> SamHeadSize:
        """The sizes in numbers; those of a file are read from it when asked for."""
        if self.size is None and self.weights_file is not None:
            tensors = read_sam(self.weights_file)
            return head_size({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        return self.size or SamHeadSize()

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return self.sizes.prompt_dim

    def build(self, features: FeatureSpec) -> None:
        """Make the layers and load the weights.

        Args:
            features: The vision encoder's maps; the main one must have as many channels as a prompt is wide.

        Raises:
            ConfigError: If it has not.
            CheckpointError: If ``weights_file`` is missing, unreadable, incomplete or of other sizes.
        """
        if features.channels[0] != self.prompt_dim:
            raise ConfigError(
                f"mask_head: SamMaskHead with prompts of width {self.prompt_dim} needs a main map of as many channels, "
                f"but the vision encoder gives {features.channels[0]}; {self._way_out(features.channels[0])}"
            )
        if self.weights_file is None:
            self.prompt_encoder, self.mask_decoder = PromptNetwork(self.sizes), MaskNetwork(self.sizes)
        else:
            file, state, sizes = self.weights_file, read_sam(self.weights_file), self.sizes
            self.prompt_encoder = made_with(lambda: PromptNetwork(sizes), state, "prompt_encoder.", file)
            self.mask_decoder = made_with(lambda: MaskNetwork(sizes), state, "mask_decoder.", file)
        self.prompt_encoder.requires_grad_(False)

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor:
        """Draw one mask for each prompt ``[n, d]``, logits ``[n, 4h, 4w]``."""
        images = features[0] + self.prompt_encoder.no_mask_embed.weight.to(features[0])[0, :, None, None]
        height, width = images.shape[2:]
        if len(prompts) == 0:
            return images.new_zeros(0, 4 * height, 4 * width)
        positions = self.prompt_encoder.positions(height, width).to(images)

        def draw(image: int, places: Tensor) -> Tensor:
            return self._decode(images[image], positions, prompts[places])

        return draw_by_image(draw, image_index, len(images), self.chunk)

    def _way_out(self, channels: int) -> str:
        if self.weights_file is not None or channels % 8:
            return f"take a vision encoder with {self.prompt_dim} channels, or a DotMaskHead"
        heads = f" and .heads: {HEADS}" if channels % (2 * self.sizes.heads) else ""
        return (
            f"set mask_head.size.prompt_dim: {channels}{heads}, or take an encoder with {self.prompt_dim} channels, as "
            "SamVisionEncoder has"
        )

    def _decode(self, image: Tensor, positions: Tensor, prompts: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            again: Tensor = checkpoint(self.mask_decoder, image, positions, prompts, use_reentrant=False)
            return again
        masks: Tensor = self.mask_decoder(image, positions, prompts)
        return masks
