"""Two machines, each a network namespace with a process of the training, train together."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lasagna.datamodules import SceneWriter
from lasagna.modules.checkpoints.parted import read_parted
from tests.helpers.tiny_run import write_config

TRAIN = Path(__file__).parents[2] / "train.py"
LATE = 8
"""Seconds after which the second machine starts."""

PATIENCE = 600
"""Seconds within which all processes end."""

NETWORK = "10.213.77"
NAMES = ("lasagna_node_0", "lasagna_node_1")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes namespaces"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2"),
]


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def nodes():
    """Two namespaces that see each other and nothing else."""
    made = []
    try:
        for name in NAMES:
            ip("netns", "add", name)
            made.append(name)
        ip("link", "add", "lasagna0", "netns", NAMES[0], "type", "veth", "peer", "lasagna1", "netns", NAMES[1])
        for rank, name in enumerate(NAMES):
            ip("-n", name, "addr", "add", f"{NETWORK}.{rank + 1}/24", "dev", f"lasagna{rank}")
            for device in (f"lasagna{rank}", "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield NAMES
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no namespaces here: {error.stderr.decode().strip()}")
    finally:
        for name in made:
            ip("netns", "del", name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nodes")
    # the first machine validates on two records, the second one on one, each a batch
    SceneWriter(str(folder / "scenes"), train=16, val=3, test=4, size=32, processes=1).prepare()
    write_config(folder, folder / "scenes")
    return folder


def command(run, strategy, steps):
    options = ["--config=tiny.yaml", f"--trainer.default_root_dir={run}", f"--trainer.strategy={strategy}"]
    # Adam makes noise of gradients that are zero in theory
    options.append('--model.optimiser.algorithm_options={"eps": 0.001}')
    options.append("--data.evaluation_batch_size=1")
    return [str(TRAIN), "fit", *options, f"--trainer.max_steps={steps}", "--ckpt_path=last"]


def start(node, folder, words, port):
    launcher = ["ip", "netns", "exec", NAMES[node], sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
    launcher += ["--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint={NETWORK}.1:{port}"]
    # an address of a namespace is none that the name of the machine leads to
    launcher += ["--rdzv-id=lasagna", f"--local-addr={NETWORK}.{node + 1}", f"--rdzv-conf=is_host={1 - node}"]
    environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"lasagna{node}"}
    return subprocess.Popen(
        [*launcher, *words, "--trainer.num_nodes=2", "--trainer.devices=1"],
        cwd=folder,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def together(folders, words, port):
    """Run the same command on both nodes, the second one later; return exit status and errors of each."""
    processes = [start(0, folders[0], words, port)]
    time.sleep(LATE)
    processes.append(start(1, folders[1], words, port))
    try:
        said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


@pytest.fixture(scope="module")
def alone(folder):
    """The weights of two processes on one machine."""
    words = [*command("alone", "ddp", 6), "--trainer.devices=2"]
    ended = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return torch.load(folder / "alone" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_nodes_train_the_weights_of_one_although_one_comes_late(strategy, nodes, folder, alone):
    status, said = together([folder, folder], command(strategy, strategy, 6), 29500 + len(strategy))
    assert status == [0, 0], said[0][-2000:]
    assert "val/" in (folder / strategy / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
    file = folder / strategy / "checkpoints" / "last.ckpt"
    saved = read_parted(file) if file.is_dir() else torch.load(file, weights_only=True)
    assert saved["global_step"] == 6
    for name, value in saved["state_dict"].items():
        if strategy == "ddp":
            assert torch.equal(value, alone[name])
        else:
            assert (value - alone[name]).norm() <= 1e-5 * alone[name].norm()


def test_nodes_without_a_common_disk_end_in_one_line(nodes, folder, tmp_path):
    shutil.copy(folder / "tiny.yaml", tmp_path)
    status, _ = together([folder, tmp_path], command("own", "ddp", 2), 29510)
    assert status == [0, 0]
    # the first machine alone has written a checkpoint
    status, said = together([folder, tmp_path], command("own", "ddp", 4), 29511)
    assert all(status)
    lines = [line for text in said for line in text.splitlines() if "ckpt_path: process 0 on" in line]
    assert lines
    assert all("process 1 on" in line and "has none; all machines need the same checkpoint" in line for line in lines)
