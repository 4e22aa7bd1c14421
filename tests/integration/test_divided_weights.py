"""One process, two with all weights (DDP) and two that divide them (FSDP2) train the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lasagna.modules.checkpoints.parted import is_parted, read_parted
from lasagna.tasks.training.ema import RAW_WEIGHTS
from tests.helpers.tiny_run import write_scenes
from tests.integration.test_matrix import ENCODERS, HEADS, MODELS

ROOT = Path(__file__).parents[2]
PATIENCE = 1800
"""Seconds within which all trainings of a strategy end."""

NOISE = 1e-5
"""Largest relative difference of a weight in float32, from sums in another order."""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="gloo's FSDP2 is tried on Linux")]


def parts(encoder, model, head, model_arguments=(), encoder_arguments=()):
    """The arguments of an assistant of tiny parts with random weights."""
    found = []
    for (kind, arguments), more in (
        (ENCODERS[encoder], encoder_arguments),
        (MODELS[model], model_arguments),
        (HEADS[head], ()),
    ):
        path = kind if "." in kind else f"lasagna.modules.{kind}"
        found.append({"class_path": path, "init_args": {**arguments, **dict(more)}})
    names = ("vision_encoder", "language_model", "mask_head")
    return {**dict(zip(names, found, strict=True)), "prompt_format": "tiny"}


ADAPTER = {"class_path": "lasagna.modules.LoRA", "init_args": {"rank": 4}}
FIXED = {"class_path": "lasagna.modules.LoRA", "init_args": {"rank": 4, "embeddings": False}}
CASES = {
    "all trained, tied embeddings, statistics of norms": {
        "assistant": parts("tiny", "tiny", "tiny", encoder_arguments={"frozen": False}),
    },
    "adapters, tied embeddings, recomputed": {
        "assistant": parts("sam", "causal", "dot", {"adapter": ADAPTER, "recompute": True}),
    },
    "adapters, frozen embeddings, shared tower": {
        "assistant": parts("shared", "image_text", "sam", {"adapter": FIXED}),
    },
    "two embeddings, average, clipped": {
        "assistant": parts("sam", "image_text", "sam"),
        "model": {"ema_decay": 0.9},
        "trainer": {"gradient_clip_val": 0.1},
    },
    "trained set, clipped by value": {
        "assistant": parts("sam2", "tiny", "sam2"),
        "model": {"trainable": {"mask_head": 1.0, "*embed_tokens*": 0.5, "prompt_projection": 1.0}},
        "trainer": {"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"},
    },
    "mask head with layers that are used once for each chunk of masks, bfloat16, average": {
        "assistant": parts("efficientnet_lite0", "tiny", "mask2former"),
        "model": {"ema_decay": 0.9},
        "trainer": {"precision": "bf16-true"},
    },
    "mixed precision": {
        "assistant": parts("tiny", "tiny", "tiny"),
        "trainer": {"precision": "bf16-mixed"},
    },
}
ROUNDED = {name: 0.02 for name in CASES if "bfloat16" in name or "mixed" in name}
"""Larger differences of what is computed in bfloat16, whose numbers are 0.4 % apart."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("divided")
    write_scenes(folder / "scenes")
    cases = [{"name": str(number), **case} for number, case in enumerate(CASES.values())]
    (folder / "cases.json").write_text(json.dumps(cases))
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    """The folder of each strategy's checkpoints, all cases trained."""
    for strategy in ("one", "ddp", "fsdp2"):
        run(strategy, folder)
    return folder


def run(strategy, folder):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if strategy != "one" else []
    words = [strategy, folder / "cases.json", folder / "scenes", folder]
    script = ["-m", "tests.helpers.trained_together"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, *launcher, *script, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]


def read(folder, case, strategy):
    file = folder / str(list(CASES).index(case)) / f"{strategy}.ckpt"
    assert is_parted(file) is (strategy == "fsdp2")
    if strategy == "fsdp2":
        sizes = [part.stat().st_size for part in sorted(file.glob("part-*"))]
        assert len(sizes) == 2
        assert max(sizes) < 0.6 * file.with_name("one.ckpt").stat().st_size
    return read_parted(file) if is_parted(file) else torch.load(file, weights_only=True)


def differences(first, second):
    assert first.keys() == second.keys()
    return {
        name: float((first[name].double() - value.double()).norm() / value.double().norm().clamp_min(1e-9))
        for name, value in second.items()
    }


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_the_weights_of_one(case, trained):
    one, all_weights, divided = (read(trained, case, strategy) for strategy in ("one", "ddp", "fsdp2"))
    assert one["global_step"] == divided["global_step"] == 20
    limit = ROUNDED.get(case, NOISE)
    for key in {"state_dict", RAW_WEIGHTS} & one.keys():
        assert max(differences(divided[key], all_weights[key]).values()) < limit
        # the first of two processes alone counts for the statistics of norms
        moving = {name for name in one[key] if "running_" in name or "num_batches" in name}
        for found in (all_weights, divided):
            alike = differences(
                {name: value for name, value in found[key].items() if name not in moving},
                {name: value for name, value in one[key].items() if name not in moving},
            )
            assert max(alike.values()) < limit
