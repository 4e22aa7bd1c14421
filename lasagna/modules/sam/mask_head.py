"""SAM's prompt encoder and mask decoder as a mask head, prompted by vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, MaskHead
from lasagna.modules.sam.mask_decoder import MaskDecoder, MaskNetwork
from lasagna.modules.sam.prompt_encoder import DensePrompts, PromptNetwork
from lasagna.modules.sam.sizes import SamHeadSize, head_size
from lasagna.modules.sam.weights import made_with, read_sam


def draw_by_image(draw: Callable[[int, Tensor], Tensor], image_index: Tensor, images: int, chunk: int) -> Tensor:
    """Draw masks of prompts that are about several images.

    The prompts of one call are all about one image, so that nothing of the image is repeated for them.

    Args:
        draw: From an image and the places of some of its prompts, long ``[m]``, their masks ``[m, h, w]``.
        image_index: Which image each prompt is about, long ``[n]``.
        images: Number of images.
        chunk: Most prompts drawn at once, which bounds the memory.

    Returns:
        The masks in the order of the prompts, float ``[n, h, w]``.
    """
    order = image_index.argsort(stable=True)
    own = order.split(image_index.bincount(minlength=images).tolist())
    masks = [draw(image, part) for image, places in enumerate(own) for part in places.split(chunk) if len(part)]
    # without prompts, no masks that still depend on what draws them, so that every parameter gets a gradient of zeros
    return torch.cat(masks or [draw(0, order)])[order.argsort()]


class PromptedMaskHead(MaskHead):
    """A mask decoder that is prompted by vectors; what stands in the place of other prompts is not trained.

    Args:
        chunk: Most prompts of one image decoded at once, which bounds the memory.
    """

    prompt_encoder: DensePrompts
    mask_decoder: MaskDecoder

    def __init__(self, chunk: int) -> None:
        super().__init__()
        if chunk < 1:
            raise ConfigError(f"chunk: expected at least 1 prompt at once, got {chunk}")
        self.chunk = chunk

    @property
    @abstractmethod
    def sizes(self) -> SamHeadSize:
        """The sizes in numbers."""

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return self.sizes.prompt_dim

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor:
        """Draw one mask for each prompt ``[n, d]``, logits ``[n, 4h, 4w]``."""
        images = self.prompt_encoder(features[0])
        height, width = images.shape[2:]
        positions = self.prompt_encoder.positions(height, width).to(images)
        finer = self.finer_cells(features)

        def draw(image: int, places: Tensor) -> Tensor:
            own = [cells[image] for cells in finer]
            masks: Tensor = self.mask_decoder(images[image], positions, prompts[places], own)
            return masks

        return draw_by_image(draw, image_index, len(images), self.chunk)

    def finer_cells(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the finer maps that the decoder takes up, in the order of doubled cells; as a rule none."""
        return ()


HEADS = 4
"""Heads that suit every width of prompts."""


class SamMaskHead(PromptedMaskHead):
    """Each prompt stands where SAM has a point or a box (arXiv 2304.02643; LISA, arXiv 2308.00692).

    Its state dict has the names of the original checkpoints (``prompt_encoder.*``, ``mask_decoder.*``). Masks are the
    first of SAM's four, up to rounding; what they do not need is not computed. The prompt encoder is not trained.

    Args:
        weights_file: Checkpoint of SAM in its original names, or of a model that holds one, such as a LaSagnA release;
            ``.safetensors`` or PyTorch. None for random weights.
        size: Sizes of your own; None for those of ``weights_file``, or the published ones.
        chunk: Most prompts of one image decoded at once, which bounds the memory.
        recompute: Whether training lets prompts and image look at each other a second time, rather than keep what that
            computed; less memory.
    """

    def __init__(
        self,
        weights_file: str | None = None,
        size: SamHeadSize | None = None,
        chunk: int = 16,
        recompute: bool = False,
    ) -> None:
        super().__init__(chunk)
        self.weights_file = weights_file
        self.size = size
        self.recompute = recompute

    @cached_property
    def sizes(self) -> SamHeadSize:
        """The sizes in numbers; those of a file are read from it when asked for."""
        if self.size is None and self.weights_file is not None:
            tensors = read_sam(self.weights_file)
            return head_size({name: tuple(tensor.shape) for name, tensor in tensors.items()})
        return self.size or SamHeadSize()

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
            self.prompt_encoder, self.mask_decoder = self._prompts(), self._decoder()
        else:
            state = read_sam(self.weights_file)
            self.prompt_encoder = made_with(self._prompts, state, "prompt_encoder.", self.weights_file)
            self.mask_decoder = made_with(self._decoder, state, "mask_decoder.", self.weights_file)
        self.prompt_encoder.requires_grad_(False)

    def _prompts(self) -> PromptNetwork:
        return PromptNetwork(self.sizes)

    def _decoder(self) -> MaskNetwork:
        return MaskNetwork(self.sizes, self.recompute)

    def _way_out(self, channels: int) -> str:
        if self.weights_file is not None or channels % 8:
            return f"take a vision encoder with {self.prompt_dim} channels, or a DotMaskHead"
        heads = f" and .heads: {HEADS}" if channels % (2 * self.sizes.heads) else ""
        return (
            f"set mask_head.size.prompt_dim: {channels}{heads}, or take an encoder with {self.prompt_dim} channels, as "
            "SamVisionEncoder has"
        )
