"""Assistants of LLaVA v1 and SAM with random weights, in the sizes that the original was measured at."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from lasagna.modules import Assistant, LoRA
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import SamHeadSize, SamSize
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Size:
    """Sizes of the three parts.

    Args:
        llama: Settings of the Llama.
        clip: Settings of the CLIP tower.
        sam: Sizes of SAM's image encoder.
        head: Sizes of SAM's mask decoder.
        words: Pieces of the tokeniser.
    """

    llama: dict[str, Any]
    clip: dict[str, Any]
    sam: SamSize
    head: SamHeadSize
    words: int = 1000


SIZES = {
    "tiny": Size(
        llama={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
        clip={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4},
        sam=SamSize(32, 2, 2, (1,), 128, out_channels=64),
        head=SamHeadSize(prompt_dim=64, mlp_dim=128, iou_dim=64),
    ),
    "realistic": Size(
        llama={
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
        },
        clip={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        sam=SamSize(),
        head=SamHeadSize(),
        words=32000,
    ),
    "7b": Size(
        llama={"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
        clip={"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        sam=SamSize(1280, 32, 16, (7, 15, 23, 31), 5120),
        head=SamHeadSize(),
        words=32000,
    ),
}
"""The sizes; "tiny" and "realistic" are those of the measurements of the original."""

ADDED = ("<im_patch>", "<im_start>", "<im_end>")


def make_assistant(
    size: Size, folder: Path, lora: bool = False, recompute: bool = False, dtype: Precision = "float32"
) -> Assistant:
    """Make an assistant with random weights, built.

    Args:
        size: Its sizes.
        folder: An empty folder for the files of the language model.
        lora: Whether the Llama's layers are frozen and carry the original's adapters (rank 8, on queries and values).
        recompute: Whether Llama, SAM's encoder and mask decoder recompute activations to save memory.
        dtype: Precision of the language model and its files.
    """
    write_llava(size, folder, getattr(torch, dtype))
    adapter = LoRA(rank=8, alpha=16.0, dropout=0.05, targets=("q_proj", "v_proj")) if lora else None
    assistant = Assistant(
        SamVisionEncoder(size.sam, recompute=recompute),
        LlavaV1(str(folder / "llava"), str(folder / "clip"), adapter=adapter, dtype=dtype, recompute=recompute),
        SamMaskHead(size=size.head, recompute=recompute),
        prompt_format="released",
    )
    assistant.configure_model()
    return assistant


def stored_bytes(size: Size, dtype: torch.dtype) -> int:
    """Return the size of the files that ``write_llava`` writes, to within a few MB."""
    with torch.device("meta"):
        networks = LlamaForCausalLM(LlamaConfig(**size.llama, vocab_size=size.words)), CLIPVisionModel(_clip(size))
    return sum(weight.numel() for network in networks for weight in network.parameters()) * dtype.itemsize


def write_llava(size: Size, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a LLaVA v1 with random weights, drawn in the precision of the files, and a tokeniser of some words."""
    config = write_settings(size, folder)
    CLIPVisionModel(_clip(size)).to(dtype).save_pretrained(folder / "clip")
    llama = AutoModelForCausalLM.from_config(LlamaConfig(**config | {"model_type": "llama"}), dtype=dtype)
    hidden, seen = size.llama["hidden_size"], size.clip["hidden_size"]
    projector = {
        "model.mm_projector.weight": torch.randn(hidden, seen),
        "model.mm_projector.bias": torch.zeros(hidden),
    }
    weights = {**llama.state_dict(), **projector}
    torch.save({name: value.to(dtype) for name, value in weights.items()}, folder / "llava" / "pytorch_model.bin")


def write_settings(size: Size, folder: Path) -> dict[str, Any]:
    """Write what a LLaVA v1 has beside its weights, and return its ``config.json``."""
    model = folder / "llava"
    model.mkdir(parents=True)
    _clip(size).save_pretrained(folder / "clip")
    pieces = _write_pieces(model / "tokenizer.model", size.words)
    config = {"model_type": "llava", **size.llama, "vocab_size": pieces + len(ADDED), "max_position_embeddings": 2048}
    (model / "config.json").write_text(json.dumps(config))
    (model / "added_tokens.json").write_text(json.dumps({token: pieces + rank for rank, token in enumerate(ADDED)}))
    return config


def _clip(size: Size) -> CLIPVisionConfig:
    return CLIPVisionConfig(**size.clip, image_size=224, patch_size=14)


def _write_pieces(file: Path, words: int) -> int:
    try:
        import sentencepiece
    except ImportError as error:
        raise SystemExit('this benchmark needs the package sentencepiece; install "lasagna[llava]"') from error
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"word{rank} thing{rank * 7}" for rank in range(words)]),
        model_writer=model,
        vocab_size=words,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    file.write_bytes(model.getvalue())
    return int(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size())
