"""``lasagna convert`` has the options of its data set, and needs no library that computes or trains."""

from __future__ import annotations

import os
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


REFUSAL = """
import sys

class Refusal:
    refused = ["torch", "torchvision", "lightning", "transformers"]

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.refused:
            raise AssertionError(f"{name} was imported")

# only the main process draws
Refusal.refused += ["matplotlib"] if "--multiprocessing-fork" in sys.orig_argv else []
sys.meta_path.insert(0, Refusal())
"""
"""A start of Python in which every import of PyTorch and its libraries fails, also in processes that are spawned."""

LIGHT = """
import multiprocessing

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    from lasagna.__main__ import main
    try:
        main(["convert", "camvid", "--help"])
    except SystemExit:
        pass
    shards = {target!r}
    options = ["--processes", "2", "--records_per_shard", "1"]
    main(["convert", "camvid", "--source", {source!r}, "--target", shards, *options])
    main(["verify", shards])
    main(["inspect", shards, "--out", shards + "/report", "--processes", "2"])
    print("light")
"""


def test_shards_are_converted_verified_and_inspected_without_pytorch(camvid, tmp_path):
    script = tmp_path / "light.py"
    script.write_text(LIGHT.format(source=str(camvid), target=str(tmp_path / "shards")))
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(REFUSAL)
    paths = [str(tmp_path / "start"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "light"
