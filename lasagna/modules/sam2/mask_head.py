"""SAM 2's mask decoder as a mask head, prompted by vectors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec
from lasagna.modules.sam.cell_attention import once_doubled, twice_doubled
from lasagna.modules.sam.mask_head import PromptedMaskHead
from lasagna.modules.sam.prompt_encoder import DensePrompts
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam2.networks import Sam2MaskNetwork
from lasagna.modules.sam2.weights import read_decoder_size, read_sam2


class Sam2MaskHead(PromptedMaskHead):
    """Each prompt stands where SAM 2 has a point or a box (arXiv 2408.00714; LISA, arXiv 2308.00692).

    Masks are the first of SAM 2's four, which is the one that it is trained to give where one is asked for; what they
    do not need is not computed. That SAM 2 takes another of the four in evaluation, where the first is not stable, is
    left out. What stands for "no mask given" and the positions are not trained.

    Args:
        checkpoint: Folder in transformers' layout, of an image or a video model; an original checkpoint
            (``sam2.1_hiera_tiny.pt``), or a file of a model that holds one; or a name on the hub. None for random
            weights.
        size: Sizes of your own, of which SAM 2 reads the first five; None for those of ``checkpoint``, or the published
            ones.
        chunk: Most prompts of one image decoded at once, which bounds the memory.
        recompute: Whether training lets prompts and image look at each other a second time, rather than keep what that
            computed; less memory.
        download: Whether what is not here may be fetched from the hub.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        size: SamHeadSize | None = None,
        chunk: int = 16,
        recompute: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__(chunk)
        self.checkpoint = checkpoint
        self.size = size
        self.recompute = recompute
        self.download = download

    @cached_property
    def sizes(self) -> SamHeadSize:
        """The sizes in numbers; those of ``checkpoint`` are read when asked for."""
        if self.size is None and self.checkpoint is not None:
            return read_decoder_size(self.checkpoint, self.download)
        return self.size or SamHeadSize()

    def build(self, features: FeatureSpec) -> None:
        """Make the layers and load the weights.

        Args:
            features: The vision encoder's maps: a main one as wide as a prompt, one of twice its size with a quarter
                of the channels, and one of four times its size with an eighth.

        Raises:
            ConfigError: If they are others, or ``checkpoint`` are not here or of another kind of model.
            CheckpointError: If ``checkpoint`` are unreadable, incomplete or of other sizes.
        """
        self._check(features)
        if self.checkpoint is None:
            self.mask_decoder, self.prompt_encoder = self._decoder(), self._prompts()
        else:
            source = read_sam2(self.checkpoint, self.download)
            self.mask_decoder = source.made_with(self._decoder, "mask_decoder.")
            self.prompt_encoder = source.made_with(self._prompts, "prompt_encoder.")
        self.prompt_encoder.requires_grad_(False)

    def finer_cells(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return both finer maps in the order of doubled cells, ``[b, p, 4, d/4]`` and ``[b, p, 4, 4, d/8]``."""
        return once_doubled(features[1]), twice_doubled(features[2])

    def _decoder(self) -> Sam2MaskNetwork:
        return Sam2MaskNetwork(self.sizes, self.recompute)

    def _prompts(self) -> DensePrompts:
        return DensePrompts(self.prompt_dim)

    def _check(self, features: FeatureSpec) -> None:
        width, stride = self.prompt_dim, features.strides[0]
        channels, strides = (width, width // 4, width // 8), (stride, stride // 2, stride // 4)
        if (features.channels[:3], features.strides[:3]) != (channels, strides) or stride % 4:
            raise ConfigError(
                f"mask_head: Sam2MaskHead with prompts of width {width} needs maps of {channels} channels, the second "
                f"twice and the third four times as large as the main one, but the vision encoder gives "
                f"{features.channels} at strides {features.strides}; take a Sam2VisionEncoder, or another mask head"
            )
