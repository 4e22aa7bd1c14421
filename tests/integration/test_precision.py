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
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
    return {name: value.dtype for name, value in state.items() if name.startswith("assistant.")}


@pytest.mark.parametrize(("precision", "kept"), [("bf16-true", torch.bfloat16), ("bf16-mixed", torch.float32)])
def test_precisions_of_the_trainer(precision, kept, config, tmp_path):
    assert set(fit(config, tmp_path, f"--trainer.precision={precision}").values()) == {kept}


def test_a_language_model_in_half_precision_beside_parts_in_full(config, tmp_path):
    kind = "lasagna.modules.CausalLanguageModel"
    arguments = {"model": SETTINGS, "tokenizer": "words", "image_grid": [2, 2], "dtype": "bfloat16"}
    part = json.dumps({"class_path": kind, "init_args": arguments})
    kinds = fit(config, tmp_path, f"--model.assistant.language_model={part}")
    assert {kind for name, kind in kinds.items() if ".llm." in name} == {torch.bfloat16}
    assert {kind for name, kind in kinds.items() if "mask_head" in name} == {torch.float32}
