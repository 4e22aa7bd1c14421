"""SAM's prompt encoder and mask decoder as a mask head, prompted by vectors."""

from __future__ import annotations

from functools import cached_property

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec
from lasagna.modules.sam.mask_network import MaskNetwork
from lasagna.modules.sam.prompt_network import PromptNetwork
from lasagna.modules.sam.prompted import PromptedMaskHead
from lasagna.modules.sam.sizes import SamHeadSize, head_size
from lasagna.modules.sam.weights import made_with, read_sam

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
