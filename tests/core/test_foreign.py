"""What a checkpoint from elsewhere cannot do (docs/security.md), whichever command reads it."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml

import lasagna
from lasagna.__main__ import main as command
from lasagna.cli.train import main
from lasagna.errors import LasagnaError
from tests.helpers.tiny_run import write_config, write_scenes

POPEN = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "run"]}}
MARKS = ("x", "run", "elsewhere")
"""Files and folders that a command or a writer of these checkpoints would leave."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("foreign")
    config = write_config(folder, write_scenes(folder / "scenes"))
    main(["fit", f"--config={config}", f"--trainer.default_root_dir={folder / 'there'}", "--trainer.max_steps=1"])
    return torch.load(folder / "there" / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.fixture
def write(trained, tmp_path, monkeypatch):
    """Write the checkpoint with another config, into a folder of its own, and work in yet another folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def write(change):
        checkpoint = deepcopy({**trained, "state_dict": dict(trained["state_dict"])})
        checkpoint["config"]["trainer"]["default_root_dir"] = "out"
        checkpoint["config"]["trainer"]["logger"]["init_args"]["folder"] = "out"
        change(checkpoint)
        (tmp_path / "downloads").mkdir(exist_ok=True)
        torch.save(checkpoint, tmp_path / "downloads" / "last.ckpt")
        return str(tmp_path / "downloads" / "last.ckpt")

    return write


def refused(capsys, call, *words):
    with pytest.raises(SystemExit) as stopped:
        call(list(words))
    assert stopped.value.code == 2
    error = capsys.readouterr().err.rpartition("error: ")[2]
    assert not any((folder / mark).exists() for mark in MARKS for folder in (Path(), Path().parent))
    return error


def shards(address, root="pipe"):
    def change(checkpoint):
        checkpoint["config"]["data"]["init_args"]["test"][0]["shards"] = address
        checkpoint["config"]["trainer"]["default_root_dir"] = root

    return change


@pytest.mark.parametrize(
    "address",
    [
        "pipe:touch x; cat {file}",
        "${trainer.default_root_dir}:touch x; cat {file}",
        "${oc.decode:'pipe:touch x'}",
        "${oc.env:HOME}",
    ],
)
def test_no_command_is_run_however_it_is_spelt(write, capsys, address):
    ckpt = write(shards(address))
    assert "the checkpoint" in refused(capsys, main, "test", "--ckpt_path", ckpt)
    assert "the checkpoint" in refused(capsys, command, "evaluate", "--ckpt", ckpt, "--device", "cpu")


def in_trainer(**settings):
    return lambda checkpoint: checkpoint["config"]["trainer"].update(settings)


def callback(name, **arguments):
    return in_trainer(callbacks=[{"class_path": f"lightning.pytorch.callbacks.{name}", "init_args": arguments}])


def logger(**arguments):
    return in_trainer(logger={"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": arguments})


def data_in_a_file(source=None, **settings):
    """The data stand in a file, where only the parser looks."""

    def change(checkpoint):
        data = checkpoint["config"]["data"]
        data["init_args"]["test"][0].update(source or {})
        data["init_args"].update(settings)
        Path("data.yaml").write_text(yaml.safe_dump(data))
        checkpoint["config"]["data"] = "data.yaml"

    return change


SCENES = {"class_path": "lasagna.datamodules.SceneWriter", "init_args": {"folder": "elsewhere", "train": 1}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (callback("LambdaCallback", on_test_start=POPEN), "subprocess.Popen"),
        (callback("LambdaCallback", on_test_start="os.abort"), "a function to call as 'on_test_start'"),
        (in_trainer(profiler={"class_path": "lightning.pytorch.profilers.SimpleProfiler"}), "is no class of a part"),
        (in_trainer(default_root_dir="../elsewhere"), "'../elsewhere' to write to, which is outside"),
        (in_trainer(default_root_dir="s3://bucket/x"), "'s3://bucket/x' to write to"),
        (logger(save_dir="../elsewhere"), "'../elsewhere' to write to, which is outside"),
        (callback("ModelCheckpoint", dirpath="/elsewhere"), "'/elsewhere' to write to, which is outside"),
        (data_in_a_file({"shards": "pipe:touch x"}), "read by the command 'pipe:touch x'"),
        (data_in_a_file({"remote": {"cache": "../elsewhere"}}), "'../elsewhere' to write to"),
        (data_in_a_file(writers=[SCENES]), "would write shards by lasagna.datamodules.SceneWriter"),
    ],
)
def test_only_classes_of_known_kinds_and_folders_nearby(write, capsys, change, told):
    assert told in refused(capsys, main, "test", "--ckpt_path", write(change))


def writer(checkpoint):
    checkpoint["config"]["data"]["init_args"]["writers"] = [SCENES]


def test_its_writers_write_nothing_and_its_results_go_where_the_user_says(write):
    main(["test", "--ckpt_path", write(writer), "--trainer.default_root_dir=results"])
    assert Path("results/scores.json").is_file()
    assert sorted(path.name for path in Path().iterdir()) == ["results"]


def assistant(change):
    return lambda checkpoint: change(checkpoint["assistant_config"])


@pytest.mark.parametrize(
    "change",
    [
        assistant(lambda config: config.update(POPEN)),
        assistant(lambda config: config["init_args"].update(vision_encoder=POPEN)),
        assistant(lambda config: config["init_args"]["mask_head"]["init_args"].update(chunk=POPEN)),
        assistant(lambda config: config["init_args"].update(prompt_format=POPEN)),
        assistant(lambda config: config.update(class_path="os.system", init_args={"command": "touch run"})),
    ],
)
def test_an_assistant_is_made_of_parts_only(write, capsys, change):
    ckpt = write(change)
    with pytest.raises(LasagnaError):
        lasagna.load(ckpt)
    refused(capsys, command, "export", "--ckpt", ckpt, "--output", "exported", "--layout", "released")


def test_a_config_of_an_assistant_in_a_file_is_read_with_the_same_eyes(write):
    Path("encoder.yaml").write_text(yaml.safe_dump(POPEN))
    ckpt = write(assistant(lambda config: config["init_args"].update(vision_encoder="encoder.yaml")))
    with pytest.raises(LasagnaError):
        lasagna.load(ckpt)
    assert not Path("run").exists()
