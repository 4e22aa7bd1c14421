"""The ``lasagna`` command: its list of commands, and arguments that come without a flag."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna import __version__
from lasagna.__main__ import COMMANDS, main
from lasagna.datamodules import read_manifest
from lasagna.tasks.pretrain import command


def save(pixels, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def camvid(tmp_path):
    rng = np.random.default_rng(0)
    for frame in ("0001TP_006690", "0006R0_f00930"):
        save(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), tmp_path / "CamVid" / "train" / f"{frame}.png")
        save(rng.integers(0, 12, (24, 32), dtype=np.uint8), tmp_path / "CamVid" / "trainannot" / f"{frame}.png")
    return tmp_path / "CamVid"


@pytest.mark.parametrize("place", [place for place, _ in COMMANDS.values()])
def test_every_command_is_there(place):
    module, function = place.split(":")
    assert callable(getattr(import_module(module), function))


def test_list_of_commands(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    printed = capsys.readouterr().out
    assert stopped.value.code == 0
    assert all(f"\n  {name}" in printed for name in COMMANDS)
    assert max(map(len, printed.splitlines())) <= 100


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_convert_takes_the_options_of_its_data_set(camvid, tmp_path):
    target = tmp_path / "shards"
    main(["convert", "camvid", "--source", str(camvid), "--target", str(target), "--held_out_drive", "0006R0"])
    counts = {path.parent.name: read_manifest(path.parent).records for path in target.glob("*/manifest.json")}
    assert counts == {"train": 1, "held_out": 1}


def test_convert_knows_its_data_sets(camvid, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["convert", "camvit", "--source", str(camvid), "--target", str(tmp_path / "shards")])
    assert stopped.value.code == 2
    assert "camvid" in capsys.readouterr().err
    assert not Path(tmp_path / "shards").exists()


def test_pretrain_runs_the_stages_that_are_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "write_vocabulary", lambda: tmp_path / "words.txt")
    main(["pretrain", "--stages", "[vocabulary]", "--out", str(tmp_path / "out")])
    assert "words.txt" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["pretrain", "--stages", "[vocabularies]", "--out", str(tmp_path / "out")])
