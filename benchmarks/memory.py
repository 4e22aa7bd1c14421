"""Memory of weights, gradients and optimiser state of large assistants, computed on the meta device.

``python benchmarks/memory.py`` makes the parts of ``configs/experiments/gpu_24gb.yaml`` and ``gpu_16gb.yaml`` without
weights, counts their parameters, and prints the sums in GB (10^9 bytes). Activations are not included:
``benchmarks/train_step.py`` measures them on a device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from models import SIZES
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from lasagna.modules import LoRA
from lasagna.modules.base import FeatureSpec
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

ADAPTER = LoRA(rank=8, alpha=16.0, targets=("q_proj", "v_proj"))
NARROW, WIDE = 2, 4
"""Bytes of a number in bfloat16 and in float32: ``--trainer.precision bf16-true`` holds weights and gradients in the
one, and what the optimiser keeps of a trained weight, a copy and two moving averages, in the other."""

QWEN: dict[str, Any] = {
    "model_type": "qwen2_5_vl",
    "text_config": {
        "model_type": "qwen2_5_vl_text",
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 2048,
    },
    "tie_word_embeddings": True,
}
"""Sizes of Qwen2.5-VL-3B, as its ``config.json`` has them."""


def main() -> None:
    """Count and print."""
    with torch.device("meta"):
        tiers = {
            "24 GB: LLaVA v1 7B, SAM ViT-H": (*_llava(), "vit_h"),
            "16 GB: Qwen2.5-VL-3B, SAM ViT-B": (_qwen(), 2048, "vit_b"),
        }
        for name, (models, hidden, size) in tiers.items():
            print(_line(name, [*models, *_sam(size, hidden)]))


def _llava() -> tuple[list[nn.Module], int]:
    size = SIZES["7b"]
    llama = LlamaForCausalLM(LlamaConfig(**size.llama, vocab_size=32008))
    clip = CLIPVisionModel(CLIPVisionConfig(**size.clip, image_size=224, patch_size=14)).requires_grad_(False)
    ADAPTER.inject(_frozen(llama), llama)
    return [llama, clip], int(size.llama["hidden_size"])


def _qwen() -> list[nn.Module]:
    config = AutoConfig.for_model(**QWEN)
    model = _frozen(AutoModelForImageTextToText.from_config(config))
    ADAPTER.inject(model, model.model.language_model)
    return [model]


def _sam(size: str, hidden: int) -> Iterator[nn.Module]:
    encoder, head = SamVisionEncoder(size), SamMaskHead()
    encoder.build()
    head.build(FeatureSpec((head.prompt_dim,), (16,), (1024, 1024)))
    yield encoder.requires_grad_(False)
    yield head
    yield nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, head.prompt_dim))


def _frozen(model: Any) -> Any:
    return model.requires_grad_(False)


def _line(name: str, parts: list[nn.Module]) -> str:
    parameters = [parameter for part in parts for parameter in part.parameters()]
    held = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    weights, moving = held * NARROW / 1e9, trained * (NARROW + 3 * WIDE) / 1e9
    return (
        f"{name:32s} {held / 1e6:7.0f} million parameters, {trained / 1e6:4.0f} million trained: "
        f"weights {weights:.1f} GB, gradients and AdamW {moving:.1f} GB, together {weights + moving:.1f} GB"
    )


if __name__ == "__main__":
    main()
