"""A training that is stopped says how to go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning import Callback

from lasagna.cli import jobs
from lasagna.cli.train import main
from lasagna.core.locks import BusyError
from tests.helpers.locked import held_folder
from tests.helpers.tiny_run import write_config, write_scenes

TRAIN = Path(__file__).parents[2] / "train.py"
PATIENCE = 90
"""Seconds until the first step must be done."""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stop")
    return write_config(folder, write_scenes(folder / "scenes"))


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize(
    "signalled",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)],
    ids=lambda number: number.name,
)
def test_training_that_is_stopped_says_how_to_go_on(signalled, config, tmp_path):
    never = '[{"class_path": "RunCheckpoint", "init_args": {"every_n_steps": 1000000}}]'
    words = [f"--config={config}", f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=100000"]
    words += [f"--trainer.callbacks={never}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    process = subprocess.Popen(
        [sys.executable, str(TRAIN), "fit", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    last, logged = tmp_path / "checkpoints" / "last.ckpt", tmp_path / "metrics.csv"
    began = time.monotonic()
    while not logged.is_file() and process.poll() is None and time.monotonic() - began < PATIENCE:
        time.sleep(0.2)
    process.send_signal(signalled)
    _, error = (text.decode() for text in process.communicate(timeout=PATIENCE))
    assert process.returncode == 128 + signalled, error
    assert f"with --ckpt_path last ({last})" in error
    assert last.is_file()
    assert "Traceback" not in error


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_two_trainings_in_one_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_KILLED", 0.0)
    root = tmp_path / "run"
    with jobs.sole_training(SimpleNamespace(default_root_dir=root, global_rank=0)):
        pass
    with held_folder(root):
        busy = pytest.raises(BusyError, match=r"trainer\.default_root_dir: another training is still running in")
        with busy, jobs.sole_training(SimpleNamespace(default_root_dir=root, global_rank=0)):
            pass
        for other in ({"global_rank": 1}, {"default_root_dir": "s3://bucket/run"}):
            with jobs.sole_training(SimpleNamespace(**{"default_root_dir": root, "global_rank": 0} | other)):
                pass


class Torn(Callback):
    """Ctrl-C that comes while a file is written, whose writer then complains of half a file."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("half a file")


def test_ctrl_c_while_a_file_is_written_is_ctrl_c(config, tmp_path, capsys):
    words = [f"--config={config}", f"--trainer.default_root_dir={tmp_path}", f"--trainer.callbacks+={__name__}.Torn"]
    with pytest.raises(SystemExit) as stopped:
        main(["fit", *words])
    assert stopped.value.code == 130
    assert "stopped at step 1, before the first checkpoint" in capsys.readouterr().err
