"""The wheel, built from the source distribution and installed alone, works from a named config in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from lasagna.cli.configs import config_names
from tests.helpers.wheels import built, copied

pytestmark = pytest.mark.slow

SMALL = [
    "--trainer.accelerator=cpu",
    "--trainer.max_steps=2",
    "--trainer.precision=32-true",
    "--trainer.limit_val_batches=0",
    "--data.batch_size=2",
    "--data.num_workers=0",
    "--model.assistant.vision_encoder=vision_encoder/tiny.yaml",
]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    source = copied(tmp_path_factory.mktemp("source") / "lasagna")
    return built("build_sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    return built("build_wheel", next(unpacked.iterdir()), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def lasagna(wheel, tmp_path_factory):
    """Install the wheel into a fresh environment that borrows its dependencies, and return a way to call it."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel)], check=True)
    # a path in a .pth file is added as it is: the editable installation that may lie there is not followed
    site = next(environment.rglob("site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    folder = tmp_path_factory.mktemp("empty")
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*words):
        done = subprocess.run(
            [str(python.with_name("lasagna")), *words], cwd=folder, env=settings, capture_output=True, text=True
        )
        assert done.returncode == 0, f"lasagna {' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    call.folder, call.site = folder, site
    return call


def save(pixels, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(file)


def write_camvid(folder):
    """Write a CamVid of six frames of noise with twelve stripes of classes."""
    frames = {"train": ["0001TP_1", "0001TP_2", "0006R0_1", "0006R0_2"], "val": ["0016E5_1", "0016E5_2"]}
    for split, names in frames.items():
        for seed, name in enumerate(names):
            save(np.random.default_rng(seed).integers(0, 256, (48, 64, 3)), folder / split / f"{name}.png")
            save(np.arange(48 * 64).reshape(48, 64) // 300, folder / f"{split}annot" / f"{name}.png")


def test_both_distributions_hold_all_configs(sdist, wheel):
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"configs/{name}" for name in config_names()} <= held
    assert {"setup.py", "train.py", "constraints.txt", "README.md", "LICENSE"} <= held
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"lasagna/configs/{name}" for name in config_names()} <= names
    assert {"lasagna/py.typed", "lasagna/modules/__init__.pyi", "lasagna/modules/tiny/weights/words.txt"} <= names
    assert not [name for name in names if name.startswith(("tests/", "configs/", "benchmarks/"))]


def test_everything_works_in_an_empty_folder(lasagna):
    listed = lasagna("configs")
    assert all(f"\n  {name} " in listed for name in config_names())
    write_camvid(lasagna.folder / "camvid")
    lasagna("convert", "camvid", "--source=camvid", "--target=data/camvid", "--held_out_drive=0006R0")
    lasagna("train", "fit", "--config", "experiments/camvid.yaml", *SMALL)
    checkpoint = "runs/camvid/checkpoints/last.ckpt"
    image = "camvid/val/0016E5_1.png"
    lasagna("predict", f"--ckpt={checkpoint}", f"--image={image}", "--query=road, sky", "--device=cpu")
    answers = json.loads((lasagna.folder / "predictions" / "0016E5_1.json").read_text())["answers"]
    assert [entry["name"] for entry in answers[0]["entries"]] == ["road", "sky"]
    asked = ["--data=data/camvid/val", "--limit=1", "--controls=[]", "--device=cpu", "--out=evaluation"]
    lasagna("evaluate", f"--ckpt={checkpoint}", *asked)
    assert (lasagna.folder / "evaluation" / "scores.json").is_file()
