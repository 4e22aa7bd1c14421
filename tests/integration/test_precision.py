"""Training in the Trainer's precisions, and with parts that hold their weights in different ones."""

from __future__ import annotations

import json

import pytest
import torch

from lasagna.cli.train import main
from tests.helpers.tiny_run import write_config, write_scenes

SETTINGS = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 2000,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("precision")
    return write_config(folder, write_scenes(folder / "scenes"))


def fit(config, folder, *options):
    main(["fit", f"--config={config}", f"--trainer.default_root_dir={folder}", "--trainer.max_steps=2", *options])
    stored = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in stored["state_dict"].values() if value.is_floating_point())
    return stored


def kinds(stored):
    """Return the precisions of trained weights, raw ones included, and of their optimiser's state."""
    weights = [*stored["state_dict"].items(), *stored.get("raw_weights", {}).items()]
    moments = [value for state in stored["optimizer_states"][0]["state"].values() for value in state.values()]
    return {value.dtype for name, value in weights if name.startswith("assistant.")} | {v.dtype for v in moments}


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_what_is_trained_is_in_float32(precision, config, tmp_path):
    assert kinds(fit(config, tmp_path, f"--trainer.precision={precision}", "--model.ema_decay=0.9")) == {torch.float32}


def test_a_language_model_in_half_precision_beside_parts_in_full(config, tmp_path):
    kind = "lasagna.modules.CausalLanguageModel"
    arguments = {"model": SETTINGS, "tokenizer": "words", "image_grid": [2, 2], "dtype": "bfloat16"}
    part = json.dumps({"class_path": kind, "init_args": arguments})
    assert kinds(fit(config, tmp_path, f"--model.assistant.language_model={part}")) == {torch.float32}
