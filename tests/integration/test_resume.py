"""Training that is killed and goes on ends with the same weights, bit for bit."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning import Callback

from lasagna.cli.train import main
from tests.helpers.tiny_run import write_config, write_scenes

ROOT = Path(__file__).parents[2]
STEPS, KILLED_AT = 8, 5
KILLER = f"""
import os, signal
from lightning import Callback

class Killer(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == {KILLED_AT}:
            os.kill(os.getpid(), signal.SIGKILL)
"""


class Stop(Callback):
    """Ends a run as an error does, without any of what follows training."""

    def __init__(self, step: int, validation: bool):
        self.step, self.validation = step, validation

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if not self.validation and trainer.global_step == self.step:
            raise InterruptedError

    def on_validation_start(self, trainer, pl_module):
        if self.validation and trainer.global_step == self.step:
            raise InterruptedError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def arguments(folder, config, workers):
    # a running mean, dropout in adapters and a validation in the epoch: all that could go on otherwise
    return [
        "fit",
        f"--config={config}",
        f"--trainer.default_root_dir={folder}",
        f"--trainer.max_steps={STEPS}",
        "--trainer.val_check_interval=3",
        f"--data.num_workers={workers}",
        "--model.ema_decay=0.9",
        "--model.assistant.language_model.adapter.dropout=0.2",
    ]


def checkpoint(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_run_continues_to_the_same_weights(tmp_path, scenes, workers):
    config = write_config(tmp_path, scenes)
    main(arguments(tmp_path / "whole", config, workers))
    whole = checkpoint(tmp_path / "whole")

    (tmp_path / "killer.py").write_text(KILLER)
    command = [sys.executable, str(ROOT / "train.py"), *arguments(tmp_path / "cut", config, workers)]
    killed = subprocess.run(
        [*command, "--trainer.callbacks+=killer.Killer"], cwd=tmp_path, capture_output=True, timeout=300, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    cut = checkpoint(tmp_path / "cut")
    assert cut["global_step"] == 4
    assert any("lora_" in name for name in cut["state_dict"])
    assert any(not torch.equal(cut["state_dict"][name], value) for name, value in whole["state_dict"].items())

    # one worker reads the streams of two
    main([*arguments(tmp_path / "cut", config, min(workers, 1)), "--ckpt_path=last"])
    resumed = checkpoint(tmp_path / "cut")
    assert resumed["global_step"] == whole["global_step"] == STEPS
    for part in ("state_dict", "raw_weights"):
        assert resumed[part].keys() == whole[part].keys()
        assert all(torch.equal(resumed[part][name], value) for name, value in whole[part].items()), part
    moments = [state["optimizer_states"][0]["state"] for state in (resumed, whole)]
    assert all(torch.equal(moments[0][key]["exp_avg"], moments[1][key]["exp_avg"]) for key in moments[1])
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, scenes):
    folder = tmp_path_factory.mktemp("whole")
    main(arguments(folder, write_config(folder, scenes), 0))
    return folder


@pytest.mark.parametrize(
    ("step", "validation", "every", "saved"),
    [
        pytest.param(6, True, 2, 4, id="in the validation after a step to be saved", marks=pytest.mark.slow),
        pytest.param(6, False, 2, 6, id="after a validation at the end of an epoch", marks=pytest.mark.slow),
        pytest.param(4, False, 3, 3, id="after a validation within an epoch"),
    ],
)
def test_validations_are_neither_lost_nor_doubled(step, validation, every, saved, tmp_path, scenes, whole):
    words = arguments(tmp_path, write_config(tmp_path, scenes), 0)
    stop = json.dumps({"class_path": f"{__name__}.Stop", "init_args": {"step": step, "validation": validation}})
    callbacks = f'[{{"class_path": "RunCheckpoint", "init_args": {{"every_n_steps": {every}}}}}'
    with pytest.raises(SystemExit):
        main([*words, f"--trainer.callbacks={callbacks}, {stop}]"])
    assert checkpoint(tmp_path)["global_step"] == saved
    main([*words, f"--trainer.callbacks={callbacks}]", "--ckpt_path=last"])
    assert logged(tmp_path) == logged(whole)
    assert validated(tmp_path) == validated(whole)
    assert len(validated(whole)) == 2


class Signal(Callback):
    """Sends a signal to this process, in the middle of a step or of a validation."""

    def __init__(self, number: int, step: int, validation: bool):
        self.number, self.step, self.validation = number, step, validation

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if not self.validation and trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if self.validation and trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


def test_stopped_run_saves_its_steps_and_goes_on_to_the_same_weights(tmp_path, scenes, whole, capfd):
    words = [*arguments(tmp_path, write_config(tmp_path, scenes), 0), "--ckpt_path=last"]
    never = '{"class_path": "RunCheckpoint", "init_args": {"every_n_steps": 100}}'
    for number, step, validation in ((signal.SIGINT, 1, False), (signal.SIGTERM, 3, True)):
        given = {"number": int(number), "step": step, "validation": validation}
        stop = json.dumps({"class_path": f"{__name__}.Signal", "init_args": given})
        with pytest.raises(SystemExit) as stopped:
            main([*words, f"--trainer.callbacks=[{never}, {stop}]"])
        assert stopped.value.code == 128 + number
        saved = step + (not validation)
        assert checkpoint(tmp_path)["global_step"] == saved
        assert f"stopped at step {saved}: resume by the same command with --ckpt_path last" in capfd.readouterr().err
    main([*words, f"--trainer.callbacks=[{never}]"])
    resumed, straight = checkpoint(tmp_path), checkpoint(whole)
    for part in ("state_dict", "raw_weights"):
        assert all(torch.equal(resumed[part][name], value) for name, value in straight[part].items()), part
    assert logged(tmp_path) == logged(whole)
    assert validated(tmp_path) == validated(whole)


def logged(folder):
    """Return the losses of each step."""
    return rows(folder, "train/loss")


def validated(folder):
    """Return a score of each validation."""
    return rows(folder, "val/scenes-semantic/presence_f1/lasagna-v1")


def rows(folder, name):
    with (folder / "metrics.csv").open() as stream:
        return [(row["step"], row[name]) for row in csv.DictReader(stream) if row[name]]
