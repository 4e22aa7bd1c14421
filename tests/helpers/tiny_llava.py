"""A LLaVA v1 of a few thousand random weights, and what a release of LaSagnA holds beside it."""

from __future__ import annotations

import io
import json
import shutil

import sentencepiece
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from lasagna.modules import FeatureSpec
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import SamHeadSize, SamSize
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

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
        "max_position_embeddings": 2048,
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


SAM_SIZES = {
    "vision_config": {
        "hidden_size": SAM.embed_dim,
        "output_channels": SAM.out_channels,
        "num_hidden_layers": SAM.depth,
        "num_attention_heads": SAM.heads,
        "image_size": SAM.image_size,
        "patch_size": SAM.patch,
        "mlp_dim": SAM.mlp_dim,
        "window_size": SAM.window,
        "global_attn_indexes": list(SAM.global_blocks),
        "num_pos_feats": HEAD.prompt_dim // 2,
    },
    "prompt_encoder_config": {
        "hidden_size": HEAD.prompt_dim,
        "image_size": SAM.image_size,
        "patch_size": SAM.patch,
        "mask_input_channels": HEAD.mask_channels,
    },
    # the original's decoder has torch's own norms
    "mask_decoder_config": {
        "hidden_size": HEAD.prompt_dim,
        "mlp_dim": HEAD.mlp_dim,
        "iou_head_hidden_dim": HEAD.iou_dim,
        "layer_norm_eps": 1e-5,
    },
}
"""SAM's sizes in transformers' words."""
TRAINED = ("<cat_start>", "<cat_end>", "<semantic>", "<ins>", "<no_ins>")
"""What LaSagnA's training adds."""


def release_state(folder):
    """Return what a release trained from a LLaVA v1 holds, random where that holds nothing."""
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.manual_seed(2)
    # loud enough in the output layer that free answers hold some
    for name, deviation in (("model.embed_tokens.weight", 0.5), ("lm_head.weight", 1.5)):
        state[name] = torch.cat([state[name], torch.randn(len(TRAINED), HIDDEN) * deviation])
    state |= {
        f"model.visual_model.{name}": value + 0.2 * torch.randn(value.shape) for name, value in sam_state().items()
    }
    widths = {"0": HIDDEN, "2": HEAD.prompt_dim}
    for layer, width in widths.items():
        state[f"model.text_hidden_fcs.0.{layer}.weight"] = torch.randn(width, HIDDEN) * 0.2
        state[f"model.text_hidden_fcs.0.{layer}.bias"] = torch.randn(width)
    return state


def write_release(root):
    """Write a release beside a LLaVA v1 that ``write_llava`` has written; return its folder."""
    folder, base = root / "release", root / "llava"
    shutil.copytree(base, folder)
    added = json.loads((base / "added_tokens.json").read_text())
    first = min(added.values())
    write_json(
        folder / "added_tokens.json", added | {token: first + len(added) + place for place, token in enumerate(TRAINED)}
    )
    state = release_state(base)
    settings = json.loads((base / "config.json").read_text())
    write_json(folder / "config.json", {**settings, "vocab_size": len(state["lm_head.weight"])})
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def training_state(release, rank=4):
    """Return the state of a training with adapters that began from the weights of a release."""
    torch.manual_seed(3)
    state = {
        f"base_model.model.{name}": value
        for name, value in torch.load(release / "pytorch_model.bin", weights_only=True).items()
    }
    layers = [
        name.removesuffix(".weight")
        for name in state
        if name.endswith(("q_proj.weight", "v_proj.weight")) and "visual" not in name
    ]
    for layer in layers:
        state[f"{layer}.lora_A.default.weight"] = torch.randn(rank, HIDDEN)
        state[f"{layer}.lora_B.default.weight"] = torch.randn(HIDDEN, rank) * 0.2
    return state


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
