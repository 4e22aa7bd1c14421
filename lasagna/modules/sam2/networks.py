"""SAM 2's networks, and how their tensors are named in transformers' folders and original checkpoints.

The networks name the image encoder's tensors as transformers does, and those of the other two as SAM does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Sam2VisionConfig, Sam2VisionModel

from lasagna.modules.language_models.pretrained import recompute_activations
from lasagna.modules.sam.mask_decoder import MaskDecoder
from lasagna.modules.sam.sizes import SamHeadSize

Rules = tuple[tuple[str, str], ...]

_FROM_TRANSFORMERS: Rules = (
    (r"^mask_decoder\.(conv_s[01])\.", r"\1."),
    (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
    (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
    (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
    (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
    (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
    (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
    (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
    (r"^(mask_decoder\.output_hypernetworks_mlps\.\d+)\.layers\.0\.", r"\1.layers.1."),
    (r"^(mask_decoder\.output_hypernetworks_mlps\.\d+)\.proj_in\.", r"\1.layers.0."),
    (r"^(mask_decoder\.output_hypernetworks_mlps\.\d+)\.proj_out\.", r"\1.layers.2."),
    (r"^(mask_decoder\.transformer\..*)mlp\.proj_in\.", r"\1mlp.lin1."),
    (r"^(mask_decoder\.transformer\..*)mlp\.proj_out\.", r"\1mlp.lin2."),
    (r"^(mask_decoder\.transformer\..*)o_proj\.", r"\1out_proj."),
    (r"^(mask_decoder\.transformer\..*)layer_norm", r"\1norm"),
)

_FROM_ORIGINAL: Rules = (
    (r"^sam_(prompt_encoder|mask_decoder)\.", r"\1."),
    (r"^mask_decoder\.(conv_s[01])\.", r"\1."),
    (r"^(mask_decoder\.transformer\..*)mlp\.layers\.0\.", r"\1mlp.lin1."),
    (r"^(mask_decoder\.transformer\..*)mlp\.layers\.1\.", r"\1mlp.lin2."),
    (r"^no_mem_embed$", "no_memory_embedding"),
    (r"^image_encoder\.neck\.convs\.(\d+)\.conv\.", r"vision_encoder.neck.convs.\1."),
    (r"^image_encoder\.trunk\.", "vision_encoder.backbone."),
    (r"^(vision_encoder\.backbone\.patch_embed)\.proj\.", r"\1.projection."),
    (r"^(vision_encoder\.backbone\.blocks\.\d+)\.norm", r"\1.layer_norm"),
    (r"^(vision_encoder\.backbone\.blocks\.\d+)\.mlp\.layers\.0\.", r"\1.mlp.proj_in."),
    (r"^(vision_encoder\.backbone\.blocks\.\d+)\.mlp\.layers\.1\.", r"\1.mlp.proj_out."),
)

_ORIGINAL = re.compile(
    r"(?:^|\.)(image_encoder\.(?:trunk|neck)\..*|sam_(?:prompt_encoder|mask_decoder)\..*|no_mem_embed)$"
)

_UNUSED = (
    (r"^memory_|^no_memory_pos|^maskmem_|^no_mem_pos|^no_obj|^obj_ptr|^mask_downsample", "memory of a video"),
    (r"^object_pointer|^no_object|^occlusion_|^temporal_positional", "memory of a video"),
    (r"^prompt_encoder\.shared_embedding", "positions, which stand under another name as well"),
    (r"^mask_decoder\.(iou_prediction|pred_obj_score)", "scores of masks"),
    (r"^mask_decoder\.output_hypernetworks_mlps\.[1-9]", "second and later masks"),
)


def from_transformers(names: Iterable[str]) -> dict[str, str]:
    """Map the names of tensors in a folder of transformers' layout to those of the networks."""
    return {name: _renamed(name, _FROM_TRANSFORMERS) for name in names}


def from_original(names: Iterable[str]) -> dict[str, str]:
    """Map the names of tensors in an original checkpoint to those of the networks.

    In a model that contains a SAM 2 they may have a prefix; tensors of other parts of the model are left out.
    """
    names = list(names)
    complete = any(name.startswith(("image_encoder.", "sam_mask_decoder.")) for name in names)
    own = {name: match[1] for name in names if (match := _ORIGINAL.search(name))}
    return {name: _renamed(own.get(name, name), _FROM_ORIGINAL) for name in (names if complete else own)}


def unused_because(name: str) -> str | None:
    """Return why the networks do not need a tensor of SAM 2 (by their naming), or None if they do."""
    return next((reason for pattern, reason in _UNUSED if re.match(pattern, name)), None)


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


class Sam2ImageEncoder(nn.Module):
    """SAM 2's image encoder, with the maps that its image predictor keeps (arXiv 2408.00714, appendix D).

    The embedding of "no memory of other frames" is added to the main map. The finer maps pass the two layers of the
    mask decoder that reduce their channels, since nothing else reads them at full width.

    Args:
        config: Transformers' settings of the encoder.
        recompute: Whether the backward pass recomputes the activations of each block, to save memory.
    """

    def __init__(self, config: Sam2VisionConfig, recompute: bool) -> None:
        super().__init__()
        width = config.fpn_hidden_size
        self.vision_encoder = Sam2VisionModel(config)
        self.vision_encoder.neck.position_encoding = NoPositions()
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.conv_s1 = nn.Conv2d(width, width // 4, 1)
        self.conv_s0 = nn.Conv2d(width, width // 8, 1)
        if recompute:
            # transformers' blocks support it, but the model does not say so
            self.vision_encoder.supports_gradient_checkpointing = True
            recompute_activations(self.vision_encoder)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, 16h, 16w]`` into ``[b, d, h, w]``, ``[b, d/4, 2h, 2w]`` and ``[b, d/8, 4h, 4w]``."""
        finest, finer, main = self.vision_encoder(pixels).fpn_hidden_states
        return [main + self.no_memory_embedding[0, 0, :, None, None], self.conv_s1(finer), self.conv_s0(finest)]


class NoPositions(nn.Module):
    """Takes the place of the pyramid's positions, which are as large as its maps, where nothing reads them."""

    def forward(self, *unread: Any) -> Tensor:  # noqa: ANN401
        """Return an empty tensor."""
        return torch.empty(0)


class Sam2MaskDecoder(MaskDecoder):
    """SAM's mask decoder with one more token, for the presence of the object (arXiv 2408.00714, appendix D).

    The layers that predict presence, quality and further masks are left out.

    Args:
        size: Sizes of the mask decoder.
        recompute: See ``MaskDecoder``.
    """

    def __init__(self, size: SamHeadSize, recompute: bool = False) -> None:
        super().__init__(size, recompute)
        self.obj_score_token = nn.Embedding(1, size.prompt_dim)

    @property
    def tokens_before(self) -> tuple[nn.Embedding, ...]:
        """Tokens of presence and mask quality."""
        return (self.obj_score_token, *super().tokens_before)
