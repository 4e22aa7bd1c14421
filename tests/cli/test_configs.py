"""Configs of the package: found by name from any folder, listed, and copied to be edited."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lasagna.__main__ import main as command
from lasagna.cli.arguments import find_packaged_configs
from lasagna.cli.configs import DEFAULTS, config_folder, config_names, local_or_packaged, packaged_config
from lasagna.cli.training_cli import TrainingCLI, command_line

CAMVID = "experiments/camvid.yaml"


@pytest.fixture(autouse=True)
def empty(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", [CAMVID, f"configs/{CAMVID}", f"./configs/{CAMVID}", "experiments/camvid"])
def test_a_config_has_several_spellings(name):
    assert packaged_config(name) == config_folder() / CAMVID


def test_all_configs_are_there():
    assert DEFAULTS.is_file()
    assert {name.partition("/")[0] for name in config_names()} >= {"default.yaml", "data", "experiments", "trainer"}
    assert packaged_config("experiments/none.yaml") is None
    assert packaged_config("../pyproject.toml") is None


def test_a_local_file_wins():
    file = Path("configs", CAMVID)
    assert local_or_packaged(str(file)) == str(config_folder() / CAMVID)
    file.parent.mkdir(parents=True)
    file.touch()
    assert local_or_packaged(str(file)) == str(file)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["fit", "--config", CAMVID], ["fit", "--config=CAMVID"]),
        (["-c", f"configs/{CAMVID}", "--data=data/camvid.yaml"], ["-c=CAMVID", "--data=DATA"]),
        (["--config=nowhere.yaml", "--data", "x", CAMVID], None),
    ],
)
def test_names_become_paths(words, found):
    paths = {"CAMVID": config_folder() / CAMVID, "DATA": config_folder() / "data" / "camvid.yaml"}
    for name, path in paths.items():
        found = found and [word.replace(name, str(path)) for word in found]
    assert find_packaged_configs(words) == (found or words)


def test_training_takes_named_configs_and_parts():
    words = ["--config", "trainer/short.yaml", "--model.assistant.mask_head=configs/mask_head/dot.yaml"]
    cli = TrainingCLI(**command_line([*words, "--trainer.accelerator=cpu"], run=False), run=False)
    assert type(cli.model.assistant.mask_head).__name__ == "DotMaskHead"
    assert cli.trainer.max_steps == OmegaConf.load(config_folder() / "trainer" / "short.yaml").trainer.max_steps


def test_configs_are_listed_with_what_they_are_for(capsys):
    command(["configs"])
    printed = capsys.readouterr().out
    assert all(f"\n  {name} " in printed for name in config_names())
    assert "experiments/\n  experiments/camvid.yaml" in printed
    assert "CamVid photographs: a frozen EfficientNet-Lite0" in printed
    assert "vision_encoder/timm.yaml                  Any timm model, from random weights\n" in printed


def test_a_config_is_printed(capsys):
    command(["configs", "trainer/short"])
    assert capsys.readouterr().out.strip() == (config_folder() / "trainer" / "short.yaml").read_text("utf-8").strip()


@pytest.mark.parametrize("target", [None, "mine.yaml", "some/folder/mine.yaml"])
def test_a_copy_says_the_same_wherever_it_lies(target, capsys):
    command(["configs", CAMVID, "--copy", *([target] if target else [])])
    copy = Path(capsys.readouterr().out.strip())
    assert copy == Path(target or "camvid.yaml")
    expected = OmegaConf.to_container(OmegaConf.load(config_folder() / CAMVID))
    expected["data"] = OmegaConf.to_container(OmegaConf.load(config_folder() / "data" / "camvid.yaml"))
    assert OmegaConf.to_container(OmegaConf.load(copy)) == expected


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([CAMVID, "--copy"], "'camvid.yaml' exists and is not overwritten"),
        (["experiments/camvit.yaml"], "no config 'experiments/camvit.yaml'; did you mean 'experiments/camvid.yaml'?"),
        (["--copy", "x"], "name a config to copy"),
    ],
)
def test_what_is_wrong_is_said(words, reason, capsys):
    Path("camvid.yaml").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        command(["configs", *words])
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
    assert Path("camvid.yaml").read_text() == "mine"
