"""Tiny image-text models of every family, with random weights."""

from __future__ import annotations

import pytest
import torch
from transformers import CONFIG_MAPPING

from lasagna.core.prompt_formats import TINY
from lasagna.modules import FeatureSpec
from lasagna.modules.decoding.recurrent import SINCE, version
from lasagna.modules.image_text.language_model import ImageTextModel
from tests.helpers import parts

FEATURES = FeatureSpec((1,), (1,), (1, 1))
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 3000,
    "max_position_embeddings": 512,
}
VISION = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
QWEN_VISION = {"depth": 2, "num_heads": 2, "patch_size": 7, "spatial_merge_size": 2, "temporal_patch_size": 2}
QWEN_TEXT = TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}
CONFIGS = {
    "llava": {
        "model_type": "llava",
        "vision_config": VISION | {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 7},
        "text_config": TEXT | {"model_type": "llama"},
        "image_token_index": 2999,
    },
    "llava_next": {
        "model_type": "llava_next",
        "vision_config": VISION | {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 7},
        "text_config": TEXT | {"model_type": "llama"},
        "image_token_index": 2999,
    },
    "llava_onevision": {
        "model_type": "llava_onevision",
        "vision_config": VISION | {"model_type": "siglip_vision_model", "image_size": 30, "patch_size": 7},
        "text_config": TEXT | {"model_type": "qwen2"},
        "image_token_index": 2999,
    },
    "internvl": {
        "model_type": "internvl",
        "vision_config": VISION | {"model_type": "internvl_vision", "image_size": [28, 28], "patch_size": [7, 7]},
        "text_config": TEXT | {"model_type": "qwen2"},
        "image_token_id": 2999,
        "downsample_ratio": 0.5,
    },
    "smolvlm": {
        "model_type": "smolvlm",
        "vision_config": VISION | {"model_type": "smolvlm_vision", "image_size": 28, "patch_size": 7},
        "text_config": TEXT | {"model_type": "llama", "pad_token_id": 0},
        "image_token_id": 2999,
        "scale_factor": 2,
    },
    "idefics3": {
        "model_type": "idefics3",
        "vision_config": VISION | {"model_type": "idefics3_vision", "image_size": 28, "patch_size": 7},
        "text_config": TEXT | {"model_type": "llama", "pad_token_id": 0},
        "image_token_id": 2999,
        "scale_factor": 2,
    },
    "paligemma": {
        "model_type": "paligemma",
        "vision_config": VISION
        | {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7, "vision_use_head": False},
        "text_config": TEXT | {"model_type": "gemma", "head_dim": 8},
        "image_token_index": 2999,
        "projection_dim": 32,
        "hidden_size": 32,
    },
    "qwen2_5_vl": {
        "model_type": "qwen2_5_vl",
        "vision_config": QWEN_VISION
        | {
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "window_size": 28,
            "fullatt_block_indexes": [1],
        },
        "text_config": QWEN_TEXT,
        "image_token_id": 2999,
        "vision_start_token_id": 2998,
        "vision_end_token_id": 2997,
    },
    "qwen3_vl": {
        "model_type": "qwen3_vl",
        "vision_config": QWEN_VISION
        | {
            "depth": 4,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 2],
        },
        "text_config": QWEN_TEXT | {"num_hidden_layers": 3, "head_dim": 8},
        "image_token_id": 2999,
        "vision_start_token_id": 2998,
        "vision_end_token_id": 2997,
    },
    "qwen2_vl": {
        "model_type": "qwen2_vl",
        "vision_config": QWEN_VISION | {"embed_dim": 32, "hidden_size": 32},
        "text_config": QWEN_TEXT,
        "image_token_id": 2999,
        "vision_start_token_id": 2998,
        "vision_end_token_id": 2997,
    },
}


CONFIGS |= {
    "gemma3": {
        "model_type": "gemma3",
        "vision_config": CONFIGS["paligemma"]["vision_config"],
        "text_config": TEXT
        | {
            "model_type": "gemma3_text",
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 12,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        "image_token_index": 2999,
        "boi_token_index": 2998,
        "eoi_token_index": 2997,
        "mm_tokens_per_image": 4,
    },
    "qwen3_5": CONFIGS["qwen3_vl"]
    | {
        "model_type": "qwen3_5",
        "vision_config": QWEN_VISION
        | {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 32, "num_position_embeddings": 36},
        "text_config": TEXT
        | {
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [1, 1, 2],
                "rope_theta": 10000.0,
                "partial_rotary_factor": 1.0,
            },
            "head_dim": 8,
            "num_hidden_layers": 3,
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        },
    },
    "lfm2_vl": {
        "model_type": "lfm2_vl",
        "vision_config": VISION | {"model_type": "siglip2_vision_model", "patch_size": 7, "num_patches": 16},
        "text_config": TEXT
        | {
            "model_type": "lfm2",
            "num_hidden_layers": 3,
            "conv_L_cache": 3,
            "layer_types": ["conv", "full_attention", "conv"],
        },
        "image_token_id": 2999,
        "downsample_factor": 2,
        "projector_hidden_size": 32,
    },
    "molmo2": {
        "model_type": "molmo2",
        "vision_config": VISION
        | {"num_hidden_layers": 3, "num_key_value_heads": 2, "head_dim": 12, "image_size": [35, 35], "patch_size": 7},
        "adapter_config": {
            "vision_feature_layer": [2, -3],
            "hidden_size": 24,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "intermediate_size": 48,
            "text_hidden_size": 32,
            "initializer_range": 0.3,
        },
        "text_config": TEXT
        | {
            "head_dim": 8,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
            "additional_vocab_size": 8,
        },
        "image_start_token_id": 3000,
        "image_end_token_id": 3001,
        "image_patch_id": 3002,
        "image_col_id": 3003,
        "low_res_image_start_token_id": 3004,
    },
}

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
CONFIGS |= {
    f"{kind}_moe": CONFIGS[kind]
    | {"model_type": f"{kind}_moe", "text_config": CONFIGS[kind]["text_config"] | EXPERTS | more}
    for kind, more in (("qwen3_vl", {}), ("qwen3_5", {"shared_expert_intermediate_size": 16}))
}

SECOND = {"model_type": "gemma2", "head_dim": 8, "sliding_window": 600, "final_logit_softcapping": None}
MISTRAL = TEXT | {"model_type": "mistral", "head_dim": 8, "sliding_window": 16}
WINDOWED = QWEN_TEXT | {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
SETTINGS = CONFIGS | {
    "paligemma2": CONFIGS["paligemma"] | {"text_config": TEXT | SECOND},
    "paligemma2_short": CONFIGS["paligemma"] | {"text_config": TEXT | SECOND | {"sliding_window": 80}},
    "llava_mistral": CONFIGS["llava"] | {"text_config": MISTRAL},
    "qwen2_vl_windowed": CONFIGS["qwen2_vl"] | {"text_config": WINDOWED},
}


def needs(kind):
    """Return a mark that skips the tests of a family where the installed transformers lacks what it needs."""
    missing = kind not in CONFIG_MAPPING
    stale = kind in ("qwen3_5", "qwen3_5_moe", "lfm2_vl") and version() < SINCE
    return pytest.mark.skipif(missing or stale, reason=f"the installed transformers lacks what {kind} needs")


SIDES = (None, 56, 98)
"""Of a tower's input in pixels; None for that of the settings."""


def made(kind, **settings):
    return ImageTextModel(SETTINGS[kind], "words", **{"image_size": 28, "max_length": 512} | settings)


def resized(model, side):
    """Give a tower another input: by the model's settings, or, where they name none, by ours."""
    vision = model.model["vision_config"]
    if "image_size" in vision:
        size = [side, side] if isinstance(vision["image_size"], list) else side
        model.model = {**model.model, "vision_config": {**vision, "image_size": size}}
    model.image_size = side
    return model


def built(kind, side=None, **settings):
    model = made(kind, **settings)
    parts.built(model if side is None else resized(model, side), FEATURES, TINY.special_tokens)
    fill_unset(model.vlm)
    # fresh projections are so small that a wrong image would go unnoticed
    with torch.no_grad():
        for value in model.vlm.parameters():
            value.copy_(value * 3)
    return model


def fill_unset(network):
    """Give values to projections that are zero in a fresh model, as Gemma 3's is."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in network.parameters():
            if value.dim() > 1 and not value.any():
                value.copy_(torch.randn(value.shape, generator=generator) / 10)
