"""The original's training recipe runs as its first lines say, on weights of a few thousand random values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import lasagna
from lasagna.__main__ import main as command
from lasagna.cli.train import main
from tests.helpers.tiny_run import write_scenes

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from tests.helpers.tiny_llava import sam_state, write_llava

SPLITS = ("train", "val", "test")
CONFIG = Path(__file__).parents[2] / "configs" / "experiments" / "lasagna_original.yaml"


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """What ``lasagna import`` makes of LLaVA v1 and SAM, to begin from."""
    root = tmp_path_factory.mktemp("original")
    write_llava(root)
    torch.save(sam_state(), root / "sam.pth")
    command(["import", f"{root / 'llava'}", f"--sam={root / 'sam.pth'}", f"--output={root / 'start'}"])
    return root / "start"


TASKS = ("Semantic", "Referring", "Reasoning", "VQA")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    """What is otherwise than in the recipe: few scenes, and a machine of this kind."""
    scenes = write_scenes(tmp_path_factory.mktemp("scenes"))
    shards = {
        split: [{"shards": f"{scenes / split}", "task": {"class_path": task}} for task in TASKS] for split in SPLITS
    }
    return [
        "--trainer.accelerator=cpu",
        "--trainer.accumulate_grad_batches=2",
        "--data.writers=[]",
        "--data.num_workers=0",
        *(f"--data.{split}={json.dumps(sources)}" for split, sources in shards.items()),
    ]


def test_fits_and_tests(start, options, tmp_path):
    configs = [
        f"--config={CONFIG}",
        f"--config={start / 'config.yaml'}",
        f"--trainer.default_root_dir={tmp_path}",
    ]
    main(["fit", *configs, *options, "--trainer.max_steps=2", "--trainer.log_every_n_steps=1"])
    ckpt = tmp_path / "checkpoints" / "last.ckpt"
    # the second config brings weights, and leaves what the recipe says as it is
    parts = OmegaConf.load(tmp_path / "config_fit.yaml").model.init_args
    adapter = parts.assistant.init_args.language_model.init_args.adapter
    assert (adapter.rank, list(adapter.targets), parts.loss.init_args.resolution) == (8, ["q_proj", "v_proj"], "image")
    stored = torch.load(ckpt, weights_only=True)["state_dict"]
    stored = {name.removeprefix("assistant."): value for name, value in stored.items()}
    begun = lasagna.load(start).state_dict()
    moved = {name for name, value in stored.items() if name not in begun or not torch.equal(value, begun[name])}
    for part in ("lora_B", "embed_tokens", "lm_head", "mask_decoder", "prompt_projection"):
        assert any(part in name for name in moved), part
    for part in ("image_encoder", "vision_tower", "mm_projector", "prompt_encoder"):
        assert not any(part in name for name in stored), part
    main(["test", f"--ckpt_path={ckpt}", "--trainer.limit_test_batches=1"])
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["stages"]["test"]["scores"]
    assert {name.split("/")[1] for name in scores} == {f"scenes-{task.lower()}" for task in TASKS}


@pytest.mark.slow
def test_one_encoder_for_both_by_two_flags(start, options, tmp_path):
    """The mask head reads CLIP's middle square; SAM is not there at all."""
    configs = [
        f"--config={CONFIG}",
        f"--config={start / 'config.yaml'}",
        f"--trainer.default_root_dir={tmp_path}",
    ]
    parts = [
        "--model.assistant.vision_encoder=lasagna.modules.SharedTower",
        "--model.assistant.mask_head=lasagna.modules.DotMaskHead",
    ]
    main(["run", *configs, *options, *parts, "--trainer.max_steps=1", "--trainer.limit_test_batches=1"])
    assert "test" in json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["stages"]
    assistant = lasagna.load(tmp_path / "checkpoints" / "last.ckpt")
    assert not any("image_encoder" in name for name in assistant.state_dict())
    assistant.presence_threshold, assistant.mask_threshold = 0.0, 1e-6
    [entry] = assistant.answer(np.zeros((30, 70, 3), np.uint8), ["sky"]).entries
    assert entry.mask.shape == (30, 70)
    assert entry.mask[:, 20:50].all()
    assert not entry.mask[:, :20].any()
    assert not entry.mask[:, 50:].any()
