"""A tiny random SAM 2 of transformers, and its tensors under the names of original checkpoints."""

from __future__ import annotations

import re

import torch
from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoMaskDecoderConfig, Sam2VideoModel

from lasagna.modules.sam2.sizes import Sam2Size

SMALL = Sam2Size(
    embed_dim=16,
    heads=2,
    blocks=(1, 1, 2, 1),
    windows=(4, 2, 2, 1),
    global_blocks=(3,),
    position_side=3,
    out_channels=32,
)
SIDE = 64
_SHARED = {
    "prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE, "mask_input_channels": 8},
    # the other masks are left out in evaluation too, as they are in training
    "mask_decoder_config": {
        "hidden_size": 32,
        "mlp_dim": 48,
        "num_attention_heads": 4,
        "iou_head_hidden_dim": 24,
        "dynamic_multimask_via_stability": False,
    },
}
_MEMORY = {
    "image_size": SIDE,
    "memory_attention_hidden_size": 32,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 48,
    "memory_attention_rope_feat_sizes": [4, 4],
    "memory_encoder_hidden_size": 32,
    "memory_encoder_output_channels": 16,
    "mask_downsampler_embed_dim": 32,
    "memory_fuser_embed_dim": 32,
    "memory_fuser_intermediate_dim": 48,
}
_ORIGINAL = (
    (r"mlp\.proj_in\.", "mlp.layers.0."),
    (r"mlp\.proj_out\.", "mlp.layers.1."),
    (r"(_mlps\.\d|_head)\.layers\.0\.", r"\1.layers.1."),
    (r"(_mlps\.\d|_head)\.proj_in\.", r"\1.layers.0."),
    (r"(_mlps\.\d|_head)\.proj_out\.", r"\1.layers.2."),
    (r"mask_embed\.conv1\.", "mask_downscaling.0."),
    (r"mask_embed\.layer_norm1\.", "mask_downscaling.1."),
    (r"mask_embed\.conv2\.", "mask_downscaling.3."),
    (r"mask_embed\.layer_norm2\.", "mask_downscaling.4."),
    (r"mask_embed\.conv3\.", "mask_downscaling.6."),
    (r"upscale_conv1\.", "output_upscaling.0."),
    (r"upscale_layer_norm\.", "output_upscaling.1."),
    (r"upscale_conv2\.", "output_upscaling.3."),
    (r"layer_norm", "norm"),
    (r"o_proj\.", "out_proj."),
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"no_memory_embedding", "no_mem_embed"),
    (r"^shared_image_embedding\.positional_embedding", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^(prompt_encoder|mask_decoder)\.", r"sam_\1."),
)
"""From transformers' names to those of facebookresearch/sam2 (sam2/modeling)."""


def vision_config(size=SMALL):
    """Return the encoder's settings, of an input so small that tests are quick."""
    config = size.config()
    config.backbone_config.image_size = [SIDE, SIDE]
    config.backbone_feature_sizes = [[SIDE // stride] * 2 for stride in (4, 8, 16)]
    return config


def image_model():
    """Return a tiny image model whose weights are all large enough to matter."""
    model = _lively(Sam2Model(Sam2Config(vision_config=vision_config(), **_SHARED)))
    # of points as of cells, as in all published weights
    model.prompt_encoder.shared_embedding.load_state_dict(model.shared_image_embedding.state_dict())
    return model


def video_model():
    """Return a tiny video model, whose folder and checkpoint hold more than the image model needs."""
    decoder = Sam2VideoMaskDecoderConfig(**_SHARED["mask_decoder_config"])
    settings = _SHARED | _MEMORY | {"mask_decoder_config": decoder, "vision_config": vision_config().to_dict()}
    return _lively(Sam2VideoModel(Sam2VideoConfig(**settings)))


def original_state(model):
    """Return a model's tensors by the names that original checkpoints have, with some of a video's memory."""
    state = model.state_dict()
    state.pop("prompt_encoder.shared_embedding.positional_embedding", None)
    points = state.pop("prompt_encoder.point_embed.weight", torch.zeros(0, 1))
    named = {original_name(name): value for name, value in state.items()}
    named |= {f"sam_prompt_encoder.point_embeddings.{kind}.weight": row[None] for kind, row in enumerate(points)}
    memory = ("maskmem_tpos_enc", "no_mem_pos_enc", "no_obj_ptr", "no_obj_embed_spatial", "obj_ptr_tpos_proj.weight")
    layers = ("memory_attention.norm.weight", "memory_encoder.out_proj.weight", "mask_downsample.weight")
    return named | {name: torch.zeros(1) for name in (*memory, *layers, "obj_ptr_proj.layers.0.weight")}


def original_name(name):
    """Return what original checkpoints call a tensor of transformers' model."""
    for pattern, replacement in _ORIGINAL:
        name = re.sub(pattern, replacement, name)
    return name


def _lively(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name and name.endswith("weight")
            value.copy_(norm + 0.2 * torch.randn(value.shape, generator=generator))
    return model.eval()
