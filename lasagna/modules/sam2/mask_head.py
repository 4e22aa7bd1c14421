"""SAM 2's mask decoder as a mask head, prompted by vectors, and by points, boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec
from lasagna.modules.sam.cell_attention import once_doubled, twice_doubled
from lasagna.modules.sam.mask_head import PromptedMaskHead
from lasagna.modules.sam.prompt_encoder import PromptEncoder
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam2.networks import Sam2MaskDecoder
from lasagna.modules.sam2.weights import read_decoder_size, read_sam2


class Sam2MaskHead(PromptedMaskHead):
    """SAM 2's mask decoder, in which each prompt takes the place of a point or a box.

    See arXiv 2408.00714, and LISA (arXiv 2308.00692) for the prompts. Masks are the first of SAM 2's four, which SAM 2
    is trained to return when a single mask is requested; the others are not computed. In evaluation SAM 2 replaces an
    unstable first mask by one of the others, which is left out here.

    Args:
        checkpoint: Folder in transformers' layout, of an image or a video model; an original checkpoint
            (``sam2.1_hiera_tiny.pt``), or a file of a model that contains one; or a name on the hub. None for
            random weights.
        size: Custom sizes, of which SAM 2 reads all but those of mask quality; None for those of ``checkpoint``, or
            the published.
        chunk: Most prompts of one image that are decoded at once, which bounds the memory.
        recompute: Whether the backward pass recomputes the two-way transformer, to save memory.
        download: Whether missing files may be downloaded from the hub.
        neck: Whether trained convolutions fit the maps of any encoder to the decoder's channels and to strides 16, 8
            and 4.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        size: SamHeadSize | None = None,
        chunk: int = 16,
        recompute: bool = False,
        download: bool = False,
        neck: bool = False,
    ) -> None:
        super().__init__(size, chunk, recompute, neck)
        self.checkpoint = checkpoint
        self.download = download

    def stored_sizes(self) -> SamHeadSize | None:
        """Return the sizes of ``checkpoint``, or None without one."""
        return None if self.checkpoint is None else read_decoder_size(self.checkpoint, self.download)

    def build(self, features: FeatureSpec) -> None:
        """Make the layers and load the weights.

        Args:
            features: The vision encoder's maps; without a neck, a main one with as many channels as a prompt, one of
                twice its size with a quarter of the channels, and one of four times its size with an eighth.

        Raises:
            ConfigError: If the maps do not fit, or if ``checkpoint`` is missing or of another kind of model.
            CheckpointError: If ``checkpoint`` is unreadable, incomplete or of other sizes.
        """
        width = self.prompt_dim
        self._check(self.fit_encoder(features, (width, width // 4, width // 8)))

        def decoder() -> Sam2MaskDecoder:
            return Sam2MaskDecoder(self.sizes, self.recompute)

        def prompts() -> PromptEncoder:
            return PromptEncoder(self.sizes, always_padded=True)

        if self.checkpoint is None:
            self.mask_decoder, self.prompt_encoder = decoder(), prompts()
        else:
            weights = read_sam2(self.checkpoint, self.download)
            self.mask_decoder = weights.made_with(decoder, "mask_decoder.")
            self.prompt_encoder = weights.made_with(prompts, "prompt_encoder.")
        self.prompt_encoder.requires_grad_(False)

    def finer_cells(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return both finer maps in the layout of doubled cells, ``[b, p, 4, d/4]`` and ``[b, p, 4, 4, d/8]``."""
        return once_doubled(features[1]), twice_doubled(features[2])

    def _check(self, features: FeatureSpec) -> None:
        width, stride = self.prompt_dim, features.strides[0]
        channels, strides = (width, width // 4, width // 8), (stride, stride // 2, stride // 4)
        if (features.channels[:3], features.strides[:3]) != (channels, strides) or stride % 4:
            raise ConfigError(
                f"mask_head: Sam2MaskHead with prompts of width {width} needs maps of {channels} channels, the second "
                f"twice and the third four times as large as the main one, but the vision encoder gives "
                f"{features.channels} at strides {features.strides}; take a Sam2VisionEncoder, or another mask head, "
                "or mask_head.neck: true"
            )
