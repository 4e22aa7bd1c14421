"""The code and the commands that pages contain, and a place to run them in which everything is small."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

import lasagna.cli.sweeps.run
from lasagna.__main__ import main as command
from lasagna.cli.train import main as train
from lasagna.datamodules import SceneWriter
from tests.helpers.exports import write_exports
from tests.helpers.large_pictures import write_geotiff, write_isaid

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.S | re.M)
SMALL = [
    "--threads=1",
    "--trainer.accelerator=cpu",
    "--trainer.max_steps=2",
    "--trainer.limit_val_batches=1",
    "--trainer.limit_test_batches=1",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--model.optimiser.warmup_steps=1",
    "--data.writers=[]",
    "--data.batch_size=2",
    "--data.evaluation_batch_size=2",
    "--data.num_workers=0",
]
"""What every training command gets besides."""

PLACES = {
    "CAMVID_FOLDER": "camvid",
    "COCO_FOLDER": "coco",
    "EXPORT_FOLDER": "exports/coco",
    "IMAGES_FOLDER": "coco/val2017",
    "ISAID_FOLDER": "isaid",
    "LABELME_FOLDER": "exports/labelme",
    "LARGE_PICTURE": "field.tif",
    "LASAGNA_FOLDER": "weights/release",
    "MASKS_FOLDER": "exports/masks",
    "SHARDS_FOLDER": "exports/shards",
    "TABLES_FOLDER": "exports/tables",
    "YOLO_FOLDER": "exports/yolo",
}
"""What stands for a user's folder, and the folder in the place for running."""

NAMED = re.compile(r"# (\w+\.(?:py|txt|yaml))\n")
"""First line of a block that is a file."""


def blocks(page, kind):
    """Return the fenced blocks of a kind."""
    return [found["text"] for found in BLOCK.finditer(page.read_text(encoding="utf-8")) if found["kind"] == kind]


def commands(block):
    """Return the command lines of a block, continued lines as one."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def make_place(folder):
    """Make a folder that looks like the repository, with few scenes and a CamVid of a few frames."""
    for name in ("configs", "docs", "examples", "train.py"):
        (folder / name).symlink_to(ROOT / name)
    for name, long_names in (("scenes", False), ("scenes_long", True)):
        target = folder / "data" / name
        SceneWriter(str(target), train=8, val=4, test=4, size=48, long_names=long_names, processes=1).prepare()
    (folder / "data" / "scenes_full").symlink_to("scenes")
    for split, frames in (
        ("train", ["0001TP_1", "0001TP_2", "0006R0_1", "0006R0_2"]),
        ("val", ["0016E5_1", "0016E5_2"]),
    ):
        for seed, frame in enumerate(frames):
            _save(np.random.default_rng(seed).integers(0, 256, (48, 64, 3)), folder / "camvid" / split / f"{frame}.png")
            _save(np.arange(48 * 64).reshape(48, 64) // 300, folder / "camvid" / f"{split}annot" / f"{frame}.png")
    _write_coco(folder / "coco")
    write_exports(folder / "exports")
    write_isaid(folder / "isaid")
    write_geotiff(folder / "field.tif")
    return folder


def run_block(block, monkeypatch):
    """Run the commands of a block through the functions that they call, small; installations are passed over."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(lasagna.cli.sweeps.run, "call", _run_of_a_sweep)
    for line in commands(block):
        for part in line.split("&&"):
            run(shlex.split(part))


def run(words):
    """Run one command."""
    words = [PLACES.get(word, word) for word in words]
    if words[:2] in (["python", "train.py"], ["lasagna", "train"]):
        train([*words[2:], *(option for option in SMALL if not (_has_own_data(words) and "--data." in option))])
    elif words[:2] == ["lasagna", "sweep"]:
        command([*words[1:], "--seeds=[0]"])
    elif words[0] == "lasagna":
        command(words[1:])
    elif words[0] == "python":
        code = compile(Path(words[1]).read_text(encoding="utf-8"), words[1], "exec")
        old, sys.argv = sys.argv, words[1:]
        try:
            exec(code, {"__name__": "__main__", "__file__": words[1]})
        finally:
            sys.argv = old
    else:
        assert words[:2] == ["pip", "install"] or words == ["pytest"], f"no test knows how to run {words}"


def _has_own_data(words):
    """Whether a config of the command names a data module of its own, which takes other options."""
    configs = [yaml.safe_load(Path(word).read_text(encoding="utf-8")) for word in words if word.endswith(".yaml")]
    return any("class_path" in config.get("data", {}) for config in configs)


def write_named(page, folder):
    """Write the blocks that open with a file's name in a comment; return the names."""
    names = []
    for kind in ("python", "text", "yaml"):
        for text in blocks(page, kind):
            if found := NAMED.match(text):
                (folder / found[1]).write_text(text, encoding="utf-8")
                names.append(found[1])
    return names


def run_snippets(page):
    """Run the Python blocks that are no files, one after the other, with the same names."""
    names = {"__name__": "__main__"}
    for text in blocks(page, "python"):
        if not NAMED.match(text):
            for word, folder in PLACES.items():
                text = text.replace(word, folder)
            exec(compile(text, page.name, "exec"), names)


def broken_links(page):
    """Return the links of a page to files that are not there."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return [link for link in links if "://" not in link and not (page.parent / link).exists()]


def _run_of_a_sweep(command, log, lock, environment, stops):
    train([*command[command.index("train") + 1 :], *SMALL])
    return os.EX_OK


def _write_coco(folder):
    """Write two photographs of noise a split, in the layout of COCO's panoptic annotations and its instances."""
    names = ["sky-other-merged", "dog", "wall-brick", "person"]
    categories = [{"id": rank + 1, "name": name} for rank, name in enumerate(names)]
    for split in ("train2017", "val2017"):
        annotations = []
        for number in (1, 2):
            ids = np.arange(48 * 64).reshape(48, 64) // 800 + 1
            _save(np.random.default_rng(number).integers(0, 256, (48, 64, 3)), folder / split / f"{number}.jpg")
            colours = np.stack([ids, 0 * ids, 0 * ids], -1)
            _save(colours, folder / "annotations" / f"panoptic_{split}" / f"{number}.png")
            segments = [{"id": rank, "category_id": rank} for rank in range(1, 5)]
            annotations.append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
        images = [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2)]
        content = {"images": images, "categories": categories, "annotations": annotations}
        (folder / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
        things = {"category_id": 2, "iscrowd": 0, "segmentation": [[4, 4, 30, 4, 30, 20, 4, 20]]}
        content["annotations"] = [{"id": image["id"], "image_id": image["id"], **things} for image in images]
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def _save(pixels, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(file)
