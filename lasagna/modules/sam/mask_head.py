"""SAM's prompt encoder and mask decoder as a mask head, prompted by vectors, and by points, boxes and masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from lasagna.core.visual_prompt import FittedPrompt
from lasagna.core.weights import reads_weights
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, MaskHead
from lasagna.modules.sam.mask_decoder import MaskDecoder, SamMaskDecoder
from lasagna.modules.sam.neck import Neck
from lasagna.modules.sam.prompt_encoder import PromptEncoder
from lasagna.modules.sam.sizes import SamHeadSize, head_size
from lasagna.modules.sam.weights import made_with, read_sam


def draw_by_image(draw: Callable[[int, Tensor], Tensor], image_index: Tensor, images: int, chunk: int) -> Tensor:
    """Draw masks of prompts that belong to several images.

    Each call of ``draw`` gets prompts of one image, so that the image is not repeated for them.

    Args:
        draw: Takes the index of an image and the indices of some of its prompts, long ``[m]``, and returns their masks
            ``[m, h, w]``.
        image_index: Index of the image of each prompt, long ``[n]``.
        images: Number of images.
        chunk: Most prompts that are drawn at once, which bounds the memory.

    Returns:
        The masks in the order of the prompts, float ``[n, h, w]``.
    """
    if images == 1:  # an exported program must not ask how many prompts an image has
        every = torch.arange(image_index.shape[0], device=image_index.device)
        return torch.cat([draw(0, part) for part in every.split(chunk)])
    order = image_index.argsort(stable=True)
    own = order.split(image_index.bincount(minlength=images).tolist())
    masks = [draw(image, part) for image, places in enumerate(own) for part in places.split(chunk) if len(part)]
    # without prompts, an empty tensor that depends on the parameters, so that each gets a gradient of zeros
    return torch.cat(masks or [draw(0, order)])[order.argsort()]


class PromptedMaskHead(MaskHead):
    """A mask decoder that is prompted by vectors, as SAM's and SAM 2's mask heads are.

    In answers it takes points, boxes and an earlier mask as well (``draw``). The prompt encoder is not trained.

    Args:
        size: Custom sizes, or None for those of the weights.
        chunk: Most prompts of one image that are decoded at once, which bounds the memory.
        recompute: Whether the backward pass recomputes the two-way transformer, to save memory.
        neck: Whether layers before the decoder fit the maps of any encoder to it.

    Raises:
        ConfigError: If ``chunk`` is below 1.
    """

    takes_visual_prompts = True
    prompt_encoder: PromptEncoder
    mask_decoder: MaskDecoder
    image_size: tuple[int, int]

    def __init__(self, size: SamHeadSize | None, chunk: int, recompute: bool, neck: bool) -> None:
        super().__init__()
        if chunk < 1:
            raise ConfigError(f"chunk: expected at least 1 prompt at once, got {chunk}")
        self.size = size
        self.chunk = chunk
        self.recompute = recompute
        self.has_neck = neck
        self.neck: Neck | None = None

    @cached_property
    def sizes(self) -> SamHeadSize:
        """The sizes; those of the weights are read on first use."""
        return self.size or self.stored_sizes() or SamHeadSize()

    @abstractmethod
    def stored_sizes(self) -> SamHeadSize | None:
        """Return the sizes of the weights that were given, or None if none were."""

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return self.sizes.prompt_dim

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor:
        """Draw one mask for each prompt ``[n, d]``, logits ``[n, 4h, 4w]``."""
        features = features if self.neck is None else self.neck(features)
        images = self.prompt_encoder(features[0])
        height, width = images.shape[2:]
        positions = self.prompt_encoder.positions(height, width).to(images)
        finer = self.finer_cells(features)

        def draw(image: int, places: Tensor) -> Tensor:
            own = [cells[image] for cells in finer]
            masks: Tensor = self.mask_decoder(images[image], positions, prompts[places][:, None], own)
            return masks

        return draw_by_image(draw, image_index, images.shape[0], self.chunk)

    def draw(self, features: Sequence[Tensor], words: Tensor | None, visual: FittedPrompt) -> Tensor:
        """Draw one mask from points, a box and an earlier mask, with or without words, logits ``[4h, 4w]``."""
        features = features if self.neck is None else self.neck(features)
        [image] = self.prompt_encoder.with_mask(features[0], visual.mask)
        positions = self.prompt_encoder.positions(*image.shape[1:]).to(image)
        vectors = self.prompt_encoder.vectors(visual, self.image_size).to(image)
        prompt = vectors if words is None else torch.cat([words[None].to(image), vectors])
        [mask] = self.mask_decoder(image, positions, prompt[None], [cells[0] for cells in self.finer_cells(features)])
        drawn: Tensor = mask
        return drawn

    def fit_encoder(self, features: FeatureSpec, channels: Sequence[int]) -> FeatureSpec:
        """Make the neck, if there is one, and return the maps that the decoder gets.

        Args:
            features: The vision encoder's maps.
            channels: Channels of the maps that the decoder reads, the main one first.
        """
        self.image_size = features.image_size
        if not self.has_neck:
            return features
        self.neck = Neck(features, channels)
        return self.neck.spec

    def finer_cells(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the finer maps that the decoder adds, in the layout of doubled cells; by default none."""
        return ()


HEADS = 4
"""Number of attention heads that divides every width of prompts."""


class SamMaskHead(PromptedMaskHead):
    """SAM's mask decoder, in which each prompt takes the place of a point or a box.

    See arXiv 2304.02643, and LISA (arXiv 2308.00692) for the prompts. The state dict has the names of the original
    checkpoints (``prompt_encoder.*``, ``mask_decoder.*``). Masks are the first of SAM's four, up to rounding; the
    others are not computed.

    Args:
        weights_file: Checkpoint of SAM in its original names, or of a model that contains one, such as a LaSagnA
            release; ``.safetensors`` or PyTorch. None for random weights.
        size: Custom sizes; None for those of ``weights_file``, or the published ones.
        chunk: Most prompts of one image that are decoded at once, which bounds the memory.
        recompute: Whether the backward pass recomputes the two-way transformer, to save memory.
        neck: Whether trained convolutions fit the main map of any encoder to the decoder's channels and to stride 16.
    """

    def __init__(
        self,
        weights_file: str | None = None,
        size: SamHeadSize | None = None,
        chunk: int = 16,
        recompute: bool = False,
        neck: bool = False,
    ) -> None:
        super().__init__(size, chunk, recompute, neck)
        self.weights_file = weights_file

    def stored_sizes(self) -> SamHeadSize | None:
        """Return the sizes of ``weights_file``, or None without one; a plan needs no file for the published sizes."""
        if self.weights_file is None or not (reads_weights() or Path(self.weights_file).exists()):
            return None
        return head_size({name: tuple(tensor.shape) for name, tensor in read_sam(self.weights_file).items()})

    def build(self, features: FeatureSpec) -> None:
        """Make the layers and load the weights.

        Args:
            features: The vision encoder's maps; without a neck, the main one must have as many channels as a prompt.

        Raises:
            ConfigError: If the main map has another number of channels.
            CheckpointError: If ``weights_file`` is missing, unreadable, incomplete or of other sizes.
        """
        features = self.fit_encoder(features, (self.prompt_dim,))
        if features.channels[0] != self.prompt_dim:
            raise ConfigError(
                f"mask_head: SamMaskHead with prompts of width {self.prompt_dim} needs a main map of as many channels, "
                f"but the vision encoder gives {features.channels[0]}; {self._way_out(features.channels[0])}"
            )
        state = read_sam(self.weights_file) if self.weights_file is not None and reads_weights() else None
        self.prompt_encoder = made_with(lambda: PromptEncoder(self.sizes), state, "prompt_encoder.", self.weights_file)
        self.mask_decoder = made_with(
            lambda: SamMaskDecoder(self.sizes, self.recompute), state, "mask_decoder.", self.weights_file
        )
        self.prompt_encoder.requires_grad_(False)

    def _way_out(self, channels: int) -> str:
        if self.weights_file is not None or channels % 8:
            return f"take a vision encoder with {self.prompt_dim} channels, or a DotMaskHead, or mask_head.neck: true"
        heads = f" and .heads: {HEADS}" if channels % (2 * self.sizes.heads) else ""
        return (
            f"set mask_head.size.prompt_dim: {channels}{heads}, or take an encoder with {self.prompt_dim} channels, as "
            "SamVisionEncoder has, or mask_head.neck: true"
        )
