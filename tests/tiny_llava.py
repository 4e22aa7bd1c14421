"""A LLaVA v1 of a few thousand random weights, and what a release of LaSagnA holds beside it."""

from __future__ import annotations

import io
import json

import sentencepiece
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from lasagna.modules import FeatureSpec
from lasagna.modules.sam import SamHeadSize, SamMaskHead, SamSize, SamVisionEncoder

HIDDEN = 16
SAM = SamSize(16, 2, 2, (1,), 32, window=2, image_size=64, patch=16, out_channels=32)
HEAD = SamHeadSize(prompt_dim=32, mlp_dim=32, mask_channels=8, iou_dim=16)
LINES = [
    "USER: Can you segment the sky, the wall and the traffic light in this image? ASSISTANT: It is the sky.",
    "A chat between a curious human and an artificial intelligence assistant.",
    "the dog on the left; the scissors, because they are sharp",
]
ADDED = {"<im_patch>": 0, "<im_start>": 1, "<im_end>": 2}
"""What LLaVA v1 adds, as ids behind the pieces."""


def write_llava(root):
    """Write a checkpoint and, beside it, its tower; return the checkpoint's folder."""
    torch.manual_seed(0)
    folder = root / "llava"
    folder.mkdir()
    pieces = write_pieces(folder / "tokenizer.model")
    write_json(folder / "added_tokens.json", {token: pieces + place for token, place in ADDED.items()})
    config = {
        "model_type": "llava",
        "vocab_size": pieces + len(ADDED),
        "hidden_size": HIDDEN,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.02,
        "rope_scaling": None,
        "mm_vision_tower": "clip",
    }
    write_json(folder / "config.json", config)
    llama = LlamaForCausalLM(LlamaConfig(**{**config, "initializer_range": 0.5}))
    projector = {"model.mm_projector.weight": torch.randn(HIDDEN, 8), "model.mm_projector.bias": torch.randn(HIDDEN)}
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    torch.save({**llama.state_dict(), **projector, **extra}, folder / "pytorch_model.bin")
    clip = CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=28, patch_size=7
    )
    CLIPVisionModel(clip).save_pretrained(root / "clip")
    return folder


def sam_state():
    """Return random weights of SAM, by its own names."""
    torch.manual_seed(1)
    encoder, head = SamVisionEncoder(SAM), SamMaskHead(size=HEAD)
    encoder.build()
    head.build(FeatureSpec((32,), (16,), (64, 64)))
    return {**encoder.state_dict(), **head.state_dict()}


def write_pieces(path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=model,
        vocab_size=330,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()


def write_json(path, content):
    path.write_text(json.dumps(content))
