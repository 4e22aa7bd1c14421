"""Mask2Former's two decoders, made of transformers' layers and prompted by vectors.

Notation: b: images; n: prompts; k: queries; d: width; h, w: cells of the finest map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)


class Mask2FormerDecoders(Mask2FormerPreTrainedModel):  # type: ignore[misc]
    """The layers of transformers' ``Mask2FormerModel`` behind its encoder, under the names that they have there.

    Args:
        config: Transformers' settings of a whole Mask2Former.
        channels: Channels of four maps, the coarsest first.
    """

    def __init__(self, config: Mask2FormerConfig, channels: Sequence[int]) -> None:
        super().__init__(config)
        self.pixel_decoder = Mask2FormerPixelDecoder(config, list(reversed(channels)))
        self.transformer_module = Mask2FormerTransformerModule(config.feature_size, config)
        self.post_init()

    def pixels(self, levels: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Refine the maps of images.

        Args:
            levels: Four maps, the coarsest first, each ``[b, c, h, w]``.

        Returns:
            The finest map ``[b, d, h, w]``, and the three that queries attend to, the coarsest first.
        """
        refined = self.pixel_decoder(list(reversed(levels)), output_attentions=False, output_hidden_states=False)
        return refined.mask_features, list(refined.multi_scale_features)

    def draw(self, finest: Tensor, levels: Sequence[Tensor], prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Draw masks for prompts, which are added to the queries.

        Args:
            finest: The finest map of each prompt's image, ``[n, d, h, w]``.
            levels: The three maps of each prompt's image.
            prompts: Float ``[n, d]``.

        Returns:
            Logits of masks ``[n, k, h, w]``, and the states of their queries ``[n, k, d]``.
        """
        module = self.transformer_module
        positions, cells = [], []
        for level, projection, offset in zip(levels, module.input_projections, module.level_embed.weight, strict=True):
            place = module.position_embedder(level.shape, level.device, level.dtype, None)
            positions.append(place.flatten(2).permute(2, 0, 1))  # [h*w, n, d]
            cells.append((projection(level).flatten(2) + offset[None, :, None]).permute(2, 0, 1))
        queries = module.queries_features.weight[:, None] + prompts  # [k, n, d]
        decoded = module.decoder(
            inputs_embeds=queries,
            multi_stage_positional_embeddings=positions,
            pixel_embeddings=finest,
            encoder_hidden_states=cells,
            query_position_embeddings=module.queries_embedder.weight[:, None].expand_as(queries),
            feature_size_list=[level.shape[-2:] for level in levels],
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        return decoded.masks_queries_logits[-1], torch.transpose(decoded.intermediate_hidden_states[-1], 0, 1)
