"""The paper's mixture and its test sets, with a few made-up records in every place that they name."""

from io import BytesIO

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from test_configs import ROOT
from tiny_run import write_config

from lasagna.cli import main
from lasagna.datamodules import write_shards
from lasagna.masks import RLEMask
from lasagna.record import Manifest, Phrase, Question, Record, Region, Turn

SHARES = {"Semantic": 10, "Referring": 6, "VQA": 1, "Reasoning": 2}
SEMANTIC = {"coco_stuff": 6, "ade20k": 3, "mapillary": 2, "cityscapes": 2, "openimages": 1}


def read(name):
    return OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / "data" / f"{name}.yaml"))["init_args"]


def write_everything(folder, sources):
    mask = RLEMask.from_array(np.eye(32, dtype=bool))
    manifest = Manifest("made", ("sky", "dog", "sun"))
    for place in sorted({source["shards"] for source in sources}):
        records = []
        for rank in range(2):
            file = BytesIO()
            Image.fromarray(np.random.default_rng(rank).integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
            annotations = {
                "regions": (Region("sky", mask),),
                "phrases": (Phrase("the sky", (mask,)), Phrase("the cat", ())),
                "questions": (Question("what is blue", masks=(mask,)),),
                "talk": (Turn("what is it", "sky"),),
            }
            records.append(Record(f"r{rank}", file.getvalue(), (32, 32), manifest, **annotations))
        write_shards(records, folder / place, manifest, records_per_shard=1)


def test_the_shares_are_those_of_the_paper():
    train = read("paper")["train"]
    weights = {task: 0.0 for task in SHARES}
    for source in train:
        weights[source["task"]["class_path"].rsplit(".", 1)[1]] += source["weight"]
    unit = weights["VQA"]
    assert {task: weight / unit for task, weight in weights.items()} == SHARES
    semantic = {source["name"]: source["weight"] / 10 for source in train if "Semantic" in source["task"]["class_path"]}
    assert semantic == SEMANTIC


@pytest.mark.parametrize(("name", "job"), [("paper", "fit"), ("paper_eval", "test")])
def test_a_step_over_every_source(name, job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = read(name)
    write_everything(tmp_path, [*content["train"], *content["val"], *content["test"]])
    config = write_config(tmp_path, tmp_path)
    arguments = ["--config", str(config), "--data", str(ROOT / "configs" / "data" / f"{name}.yaml")]
    arguments += ["--data.num_workers", "0", "--data.samples_per_epoch", "8", "--trainer.max_steps", "1"]
    arguments += ["--trainer.default_root_dir", str(tmp_path / "run")]
    main(["fit", *arguments])
    if job == "test":
        main(["test", *arguments, "--ckpt_path", str(tmp_path / "run" / "checkpoints" / "last.ckpt")])
        scores = (tmp_path / "run" / "scores.json").read_text()
        for key in ("context_459/miou/lasagna-v1", "grefcoco_val/n_acc/grefcoco", "reasonseg_test/giou/lisa"):
            assert f"test/{key}" in scores
