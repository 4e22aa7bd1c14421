"""SAM 3's detector, made of transformers' layers and prompted by vectors.

Notation: m: prompts; t: vectors of a prompt; d: width; k: masks of a prompt; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from transformers import Sam3Config
from transformers.models.sam3.modeling_sam3 import (
    Sam3DetrDecoder,
    Sam3DetrEncoder,
    Sam3DotProductScoring,
    Sam3MaskDecoder,
    Sam3SinePositionEmbedding,
)

DOUBLINGS = 2
"""How often the main map is doubled for the masks."""


class Sam3Detector(nn.Module):
    """The layers of transformers' ``Sam3Model`` behind its encoders of images, words and boxes, under the same names.

    The layer of the semantic mask is left out, and so is that of a doubling for which there is no map. The boxes of the
    queries are refined from layer to layer, but no gradient passes from one to the next, so that masks do not train the
    layer that refines them.

    Args:
        config: Transformers' settings of a whole SAM 3.
    """

    def __init__(self, config: Sam3Config) -> None:
        super().__init__()
        self.detr_encoder = Sam3DetrEncoder(config.detr_encoder_config)
        self.detr_decoder = Sam3DetrDecoder(config.detr_decoder_config)
        self.mask_decoder = Sam3MaskDecoder(config.mask_decoder_config)
        self.dot_product_scoring = Sam3DotProductScoring(config)
        width = config.detr_encoder_config.hidden_size
        self.position_encoding = Sam3SinePositionEmbedding(width // 2, normalize=True)
        self.mask_decoder.semantic_projection = nn.Identity()
        pixels = self.mask_decoder.pixel_decoder
        pixels.conv_layers, pixels.norms = pixels.conv_layers[:DOUBLINGS], pixels.norms[:DOUBLINGS]
        self.detr_decoder.box_head.requires_grad_(False)

    def forward(self, maps: Sequence[Tensor], prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw masks.

        Args:
            maps: Maps of each prompt's image, ``[m, d, h, w]``, ``[m, d, 2h, 2w]`` and ``[m, d, 4h, 4w]``.
            prompts: What is asked for, in the place of the words, float ``[m, t, d]``.

        Returns:
            Logits of masks ``[m, k, 4h, 4w]``, of each being asked for ``[m, k]``, and of anything being there
            ``[m, 1]``.
        """
        main = maps[0]
        encoded = self.detr_encoder(
            vision_features=[main],
            text_features=prompts,
            vision_pos_embeds=[self.position_encoding(main.shape, main.device, main.dtype)],
        )
        decoded = self.detr_decoder(
            vision_features=encoded.last_hidden_state,
            text_features=encoded.text_features,
            vision_pos_encoding=encoded.pos_embeds_flattened,
            spatial_shapes=encoded.spatial_shapes,
        )
        queries = decoded.intermediate_hidden_states[-1:]
        fitting = self.dot_product_scoring(decoder_hidden_states=queries, text_features=encoded.text_features)
        drawn = self.mask_decoder(
            decoder_queries=queries[0],
            backbone_features=list(reversed(maps)),
            encoder_hidden_states=encoded.last_hidden_state,
            prompt_features=prompts,
        )
        return drawn.pred_masks, fitting[0, :, :, 0], decoded.presence_logits[-1]
