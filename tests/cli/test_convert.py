"""``lasagna convert`` has the options of its data set, and needs no library that computes or trains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.__main__ import main
from lasagna.datamodules import read_manifest


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


LIGHT = """
import multiprocessing, sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "lightning", "transformers"):
            raise AssertionError(f"{{name}} was imported")

if __name__ == "__main__":
    sys.meta_path.insert(0, Refusal())
    from lasagna.__main__ import main
    try:
        main(["convert", "camvid", "--help"])
    except SystemExit:
        pass
    shards, processes = {target!r}, {processes}
    main(["convert", "camvid", "--source", {source!r}, "--target", shards, "--processes", str(processes)])
    main(["verify", shards])
    main(["inspect", shards, "--out", shards + "/report", "--processes", str(processes)])
    print("light")
"""
"""A program in which every import of PyTorch and its libraries fails, also in the processes that it forks."""


@pytest.mark.parametrize("processes", [0, 2])
def test_shards_are_converted_verified_and_inspected_without_pytorch(camvid, tmp_path, processes):
    script = tmp_path / "light.py"
    script.write_text(LIGHT.format(source=str(camvid), target=str(tmp_path / "shards"), processes=processes))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "light"
