"""A tiny random SAM of transformers, and its prompt encoder and mask decoder under the original's names."""

from __future__ import annotations

import re

import torch
from transformers import SamConfig, SamModel

from tests.helpers.sam2_model import original_name

SIDE, CELLS = 64, 8
_SIZES = {"hidden_size": 32, "image_size": SIDE, "patch_size": SIDE // CELLS}
_VISION = {"num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 32, "output_channels": 32, "num_pos_feats": 16}


def sam_model():
    """Return a tiny model whose weights are all large enough to matter."""
    decoder = {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 4, "iou_head_hidden_dim": 24}
    prompts = _SIZES | {"image_embedding_size": CELLS, "mask_input_channels": 8}
    vision = {**_SIZES, **_VISION, "global_attn_indexes": [0]}
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    model, generator = SamModel(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name and name.endswith("weight")
            value.copy_(norm + 0.3 * torch.randn(value.shape, generator=generator))
    return model.eval()


def sam_state(model):
    """Return the tensors of prompt encoder and mask decoder by the names of SAM's own checkpoints."""
    state = {}
    for name, value in model.state_dict().items():
        name = re.sub(r"(?<!_)point_embed\.", "point_embeddings.", name)
        renamed = original_name(name).removeprefix("sam_")
        if renamed.startswith(("mask_decoder.", "prompt_encoder.")):
            state[renamed] = value.clone()
    return state
