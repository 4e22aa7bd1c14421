"""Two processes train, end and go on together."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lasagna.datamodules.scenes.writer import SceneWriter
from lasagna.modules.checkpoints.parted import read_parted
from tests.datamodules.streaming.test_stream import replace_file
from tests.helpers.tiny_run import write_config, write_scenes

TRAIN = Path(__file__).parents[2] / "train.py"
PATIENCE = 30
"""Seconds within which all processes end after one has."""

KILLS = 20
"""Kills of one training that ends as if there had been none."""

STARTED = 120
"""Seconds within which the first step is done."""

# one that is killed once, and one that is killed again and again
CALLBACKS = """
import os, signal
from random import Random
from threading import Timer
from lightning import Callback

class Killer(Callback):
    def __init__(self, rank: int): self.rank = rank
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        if trainer.global_step == 5 and trainer.global_rank == self.rank and first:
            os.kill(os.getpid(), signal.SIGKILL)

# kills one of the processes soon after each start, at a moment that no hook chooses
class Reaper(Callback):
    armed = False
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        restart = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        chosen = trainer.global_rank == restart % 2 and restart < KILLS
        if chosen and not self.armed and trainer.global_step > 2 * restart + 2:
            self.armed = True
            Timer(Random(restart).random() / 3, os.kill, (os.getpid(), signal.SIGKILL)).start()

"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    write_config(folder, write_scenes(folder / "scenes"))
    (folder / "faults.py").write_text(CALLBACKS.replace("KILLS", str(KILLS)))
    return folder


def command(run, *words, job="fit"):
    options = ["--config=tiny.yaml", f"--trainer.default_root_dir={run}", "--trainer.strategy=ddp"]
    return [str(TRAIN), job, *options, "--trainer.devices=2", "--trainer.max_steps=8", *words]


def start(words, folder):
    # without it, torch's gloo does not find its peers again after a restart
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process, patience):
    """Return what the processes said once all have ended; kill those that wait for ever."""
    try:
        return process.communicate(timeout=patience)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"not ended after {patience} s: {process.communicate()[1][-2000:]}")


def errors(text):
    return [line for line in text.splitlines() if "error" in line.lower() or "Traceback" in line]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_other_process_says_which_one_was_killed(rank, folder):
    killer = f'{{"class_path": "faults.Killer", "init_args": {{"rank": {rank}}}}}'
    process = start([sys.executable, *command(f"killed_{rank}", f"--trainer.callbacks+={killer}")], folder)
    said = ended(process, STARTED + PATIENCE)
    (line,) = errors(said)
    assert line.startswith(f"error: process {rank} of 2 (number ")
    assert "as if killed or out of memory; all processes end, at step 5; go on by the same command" in line
    assert f"--ckpt_path last (killed_{rank}/checkpoints/last.ckpt)" in line


UNREADABLE = "the image cannot be decoded"
FAULTS = {
    "a record of training": ({"broken": ("train", 5)}, f"record train-000005: {UNREADABLE}"),
    "a record to validate on, which one process reads": (
        {"val": 2, "broken": ("val", 1)},
        f"record val-000001: {UNREADABLE}",
    ),
    "fewer records to validate on than processes": (
        {"val": 1},
        "source scenes-semantic has fewer records (1) than there are processes (2); start at most 1",
    ),
}
"""What is wrong with the scenes, and what is said about it."""


def write_own(folder, name, broken=None, **counts):
    """Write the config of a run on scenes of its own, some of which may have an image that cannot be read."""
    scenes = folder / name / "scenes"
    SceneWriter(str(scenes), **{"train": 16, "val": 4, "test": 4, **counts}, size=32, processes=1).prepare()
    if broken is not None:
        split, *numbers = broken
        for number in numbers:
            replace_file(scenes / split, "000000.tar", f"{split}-{number:06d}.png", b"no image")
    return write_config(folder / name, scenes)


def trained_on_own(folder, name, *words, job="fit", **scenes):
    """Train both processes on scenes of their own; return the process that ended and what was said."""
    config = write_own(folder, name, **scenes)
    options = [f"--config={config}", "--data.num_workers=1", "--data.samples_per_epoch=16", "--trainer.callbacks=[]"]
    process = start([sys.executable, *command(name, "--trainer.max_steps=4", *options, *words, job=job)], folder)
    said = ended(process, STARTED + PATIENCE)
    return process, said


@pytest.mark.parametrize("case", FAULTS)
def test_data_that_are_broken_for_one_process_are_one_line(case, folder):
    scenes, expected = FAULTS[case]
    process, said = trained_on_own(folder, f"fault_{list(FAULTS).index(case)}", **scenes)
    assert process.returncode
    (line,) = errors(said)
    assert expected in line


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_may_have_no_record_that_can_be_used(rank, folder):
    """One record to train on for two processes, and one to validate on, beside one that is left out."""
    run = f"few_{rank}"
    process, said = trained_on_own(folder, run, "--data.broken=skip", train=1, val=2, broken=("val", rank))
    assert process.returncode == 0, said[-2000:]
    assert "Traceback" not in said
    assert f"skipped a broken record: {folder / run}/scenes/val/000000.tar: record val-00000{rank}" in said
    with (folder / run / "metrics.csv").open(encoding="utf-8") as rows:
        cells = [row.get("val/scenes-semantic/miou/lasagna-v1") for row in csv.DictReader(rows)]
    assert [0 <= float(cell) <= 1 for cell in cells if cell] == [True, True]


NONE = "none of its 2 records could be used; 2 were broken, 0 have nothing for its task Semantic"
UNUSED = {"train": "3 passes over its records gave no dialogue; ", "val": NONE, "test": NONE}


@pytest.mark.parametrize("split", UNUSED)
def test_records_that_no_process_can_use_are_one_line(split, folder):
    """Training, validation in it, and the test after it."""
    scenes = {split: 2, "broken": (split, 0, 1)}
    process, said = trained_on_own(folder, f"none_{split}", "--data.broken=skip", job="run", **scenes)
    assert process.returncode
    assert "Traceback" not in said
    # the warnings about broken records show a line of code that says "error" too
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert line.startswith("error: source scenes-")
    assert UNUSED[split] in line


def read(folder, run):
    """Read the last checkpoint of a run, a file or a folder in parts."""
    place = folder / run / "checkpoints" / "last.ckpt"
    return read_parted(place) if place.is_dir() else torch.load(place, weights_only=True)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_a_signal_to_one_process_stops_both_with_a_checkpoint(strategy, folder):
    run = f"stopped_{strategy}"
    words = command(run, "--trainer.max_steps=100000", f"--trainer.strategy={strategy}")
    process = start([sys.executable, *words], folder)
    began = time.monotonic()
    while not (folder / run / "metrics.csv").is_file() and time.monotonic() - began < STARTED:
        time.sleep(0.2)
    (other,) = subprocess.run(
        ["pgrep", "-P", str(process.pid), "-f", "train.py"], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(other), signal.SIGTERM)
    said = ended(process, PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.count("with --ckpt_path last") == 1
    assert not errors(said)
    assert f"stopped at step {read(folder, run)['global_step']}" in said


LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]


def torchrun(run, folder, *words, restarts=2, patience=2 * STARTED):
    """Train to the end, and return the last checkpoint and what was said."""
    launcher = [*LAUNCHER, "--standalone", f"--max-restarts={restarts}"]
    process = start([*launcher, *command(run, "--ckpt_path=last", *words)], folder)
    said = ended(process, patience)
    assert process.returncode == 0, said[-2000:]
    return read(folder, run), said


def assert_same_weights(first, second, noise=0.0):
    assert first["global_step"] == second["global_step"]
    for name, value in second["state_dict"].items():
        assert (value - first["state_dict"][name]).norm() <= noise * value.norm(), name


def test_torchrun_goes_on_to_the_same_weights(folder):
    whole, said = torchrun("whole", folder)
    assert "Restoring states" not in said
    assert whole["global_step"] == 8
    killer = '--trainer.callbacks+={"class_path": "faults.Killer", "init_args": {"rank": 1}}'
    cut, said = torchrun("cut", folder, killer)
    assert "Restoring states" in said
    assert "sync_dist" not in said
    assert_same_weights(whole, cut)


def test_twenty_kills_end_in_the_weights_of_the_undisturbed_run(folder):
    steps = f"--trainer.max_steps={2 * KILLS + 10}"
    whole, _ = torchrun("undisturbed", folder, steps)
    cut, said = torchrun(
        "reaped",
        folder,
        steps,
        "--trainer.callbacks+=faults.Reaper",
        restarts=KILLS + 2,
        patience=(KILLS + 2) * STARTED,
    )
    # a kill that comes before the first checkpoint lets the training begin anew
    assert said.count("Restoring states") + said.count("training begins") >= KILLS
    assert_same_weights(whole, cut)


def test_divided_weights_go_on_by_any_strategy_and_number_of_processes(folder):
    # Adam makes noise of gradients that are zero in theory
    quiet = ['--model.optimiser.algorithm_options={"eps": 0.001}', "--model.optimiser.schedule=constant"]

    def goes_on(run, strategy, steps, devices=2):
        words = [f"--trainer.strategy={strategy}", f"--trainer.devices={devices}", f"--trainer.max_steps={steps}"]
        process = start([sys.executable, *command(run, *quiet, "--ckpt_path=last", *words)], folder)
        said = ended(process, 2 * STARTED)
        assert process.returncode == 0, said[-2000:]
        return read(folder, run)

    goes_on("divided", "fsdp2", 2)
    for copy in ("copied", "alone"):
        shutil.copytree(folder / "divided", folder / copy)
    assert_same_weights(goes_on("divided", "fsdp2", 4), goes_on("copied", "ddp", 4), 1e-5)
    assert goes_on("alone", "auto", 4, devices=1)["global_step"] == 4
    # and from the file that DDP has written
    shutil.copytree(folder / "copied", folder / "again")
    assert_same_weights(goes_on("again", "fsdp2", 6), goes_on("copied", "ddp", 6), 1e-5)
