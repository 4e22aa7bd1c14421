"""SAM 2's mask decoder, of which one mask a prompt is computed."""

from __future__ import annotations

from torch import nn

from lasagna.modules.sam.mask_network import MaskDecoder
from lasagna.modules.sam.sizes import SamHeadSize


class Sam2MaskNetwork(MaskDecoder):
    """SAM's mask decoder with a token more, which says whether the object is there (arXiv 2408.00714, appendix D).

    What reads presence, quality and other masks off the tokens is left out.

    Args:
        size: Sizes of the mask decoder.
        recompute: As for ``MaskDecoder``.
    """

    def __init__(self, size: SamHeadSize, recompute: bool = False) -> None:
        super().__init__(size, recompute)
        self.obj_score_token = nn.Embedding(1, size.prompt_dim)

    @property
    def tokens_before(self) -> tuple[nn.Embedding, ...]:
        """Tokens of presence and of mask quality."""
        return (self.obj_score_token, *super().tokens_before)
