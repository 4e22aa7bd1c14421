"""One process, two with all weights (DDP, ZeRO 2) and two that divide them (FSDP2) train the same weights."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
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

GO_ON = {"adapters, tied embeddings, recomputed": "zero2", "all trained, tied embeddings, statistics of norms": "ddp"}
"""Cases that ZeRO 2 goes on with, by the strategy that trained the first half."""
ZERO = {
    **{name: case for name, case in CASES.items() if "by value" not in name and "bfloat16" not in name},
    **{f"{name}, begun by {begun}": {**CASES[name], "begun_by": begun} for name, begun in GO_ON.items()},
}
"""Cases of ZeRO 2, which clips by norm and trains weights in float32."""

CLIPPED = 3e-5
"""Larger differences where gradients are clipped: the norm that torch takes of them in one process is off by 6e-6."""


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


@pytest.fixture(scope="module")
def deepspeed():
    if find_spec("deepspeed") is None:
        pytest.skip("DeepSpeed is not installed: pip install -e '.[deepspeed]'")


@pytest.fixture(scope="module")
def zero(folder, deepspeed):
    """The folder of the checkpoints of ZeRO 2 and of one process."""
    inside = folder / "zero"
    inside.mkdir()
    cases = [{"name": str(number), **case} for number, case in enumerate(ZERO.values())]
    (inside / "cases.json").write_text(json.dumps(cases))
    for strategy in ("one", "zero2"):
        run(strategy, inside, folder / "scenes")
    return inside


def run(strategy, folder, scenes=None):
    words = [strategy, folder / "cases.json", scenes or folder / "scenes", folder]
    start("trained_together", words, folder, 1 if strategy == "one" else 2)


def start(script, words, folder, processes):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if processes > 1 else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, *launcher, "-m", f"tests.helpers.{script}", *map(str, words)],
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
        for found in (all_weights, divided):
            alike = differences(
                {name: value for name, value in found[key].items() if not moving(name)},
                {name: value for name, value in one[key].items() if not moving(name)},
            )
            assert max(alike.values()) < limit


@pytest.mark.parametrize("case", ZERO)
def test_zero_trains_the_weights_of_one_process(case, zero):
    files = [zero / str(list(ZERO).index(case)) / f"{strategy}.ckpt" for strategy in ("one", "zero2")]
    one, found = (torch.load(file, weights_only=True) for file in files)
    assert one["global_step"] == found["global_step"] == 20
    limit = ROUNDED.get(case, CLIPPED if "clipped" in case else NOISE)
    for key in {"state_dict", RAW_WEIGHTS} & one.keys():
        alike = differences(*({n: v for n, v in each[key].items() if not moving(n)} for each in (found, one)))
        assert max(alike.values()) < limit
    (states,), (expected,) = found["optimizer_states"], one["optimizer_states"]
    assert states["param_groups"] == expected["param_groups"]
    assert states["state"].keys() == expected["state"].keys()
    for number, state in expected["state"].items():
        assert {name: value.shape for name, value in states["state"][number].items()} == {
            name: value.shape for name, value in state.items()
        }


def test_zero_takes_the_steps_of_one_process_whose_batches_use_different_layers(deepspeed, tmp_path):
    start("zero_steps", [tmp_path / "told"], tmp_path, 2)
    first, second = (json.loads((tmp_path / f"told.{rank}").read_text()) for rank in range(2))
    # the last step of each of three epochs takes one batch, the others two
    assert first["steps"] == 9
    # eight parameters, and three values of the state of each in the first process
    assert (first["compared"], second["compared"]) == (32, 8)
    assert max(first["difference"], second["difference"]) < 1e-6
    assert first["buffers"] == second["buffers"]
    assert all("gradients are not finite" in one["said"] for one in (first, second))


def moving(name):
    """Whether the first of two processes alone counts for a statistic of norms."""
    return "running_" in name or "num_batches" in name
