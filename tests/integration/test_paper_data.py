"""The mixtures of the paper and of its code, and the test sets, with some made-up records in every place they name."""

from io import BytesIO

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from lasagna.cli.train import main
from lasagna.core.config import build
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Phrase, Question, Record, Region, Turn
from lasagna.datamodules import write_shards
from lasagna.tasks import Task
from tests.helpers.tiny_run import write_config
from tests.integration.test_configs import ROOT

SHARES = {"Semantic": 10, "Referring": 6, "VQA": 1, "Reasoning": 2}
SEMANTIC = {"coco_stuff": 6, "ade20k": 3, "mapillary": 2, "cityscapes": 2, "openimages": 1}


def read(name):
    return OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / "data" / f"{name}.yaml"))["init_args"]


def write_everything(folder, sources, turns=1):
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
                "questions": (Question("what is blue", "the sky is", (mask,), "sentence"),),
                "conversation": (Turn("what is it", "sky"), Turn("is it blue", "yes"))[:turns],
            }
            records.append(Record(f"r{rank}", file.getvalue(), (32, 32), manifest, **annotations))
        write_shards(records, folder / place, manifest, records_per_shard=1)


@pytest.mark.parametrize("name", ["paper", "original"])
def test_the_shares_are_those_of_the_paper(name):
    train = read(name)["train"]
    weights = {task: 0.0 for task in SHARES}
    for source in train:
        weights[source["task"]["class_path"].rsplit(".", 1)[1]] += source["weight"]
    unit = weights["VQA"]
    assert {task: weight / unit for task, weight in weights.items()} == SHARES
    semantic = {source["name"]: source["weight"] / 10 for source in train if "Semantic" in source["task"]["class_path"]}
    assert semantic == SEMANTIC


def test_the_recipe_of_the_original_words_and_samples_alike_on_scenes_and_on_its_data():
    recipe = OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / "experiments" / "lasagna_original.yaml"))
    on_scenes, on_its_data = recipe["data"]["init_args"], read("original")
    assert on_scenes["strategies"] == on_its_data["strategies"]
    assert {repr(source["task"]) for source in on_scenes["train"]} == {
        repr(source["task"]) for source in on_its_data["train"]
    }


def test_the_benchmarks_ask_all_phrases_and_questions_of_a_picture():
    mask = RLEMask.from_array(np.eye(32, dtype=bool))
    phrases = tuple(Phrase(f"thing {rank}", (mask,)) for rank in range(60))
    questions = tuple(Question(f"what is {rank}", "this", (mask,), "sentence") for rank in range(60))
    record = Record("r", b"", (32, 32), Manifest("made", ("sky",)), phrases=phrases, questions=questions)
    tasks = [source["task"] for source in read("paper_eval")["test"] if "Semantic" not in source["task"]["class_path"]]
    assert len(tasks) == 13
    for task in tasks:
        assert len(build(task, Task).dialogues(record, np.random.default_rng(0))) == 60


@pytest.mark.parametrize(
    ("name", "job"), [("paper", "fit"), pytest.param("original", "fit", marks=pytest.mark.slow), ("paper_eval", "test")]
)
def test_a_step_over_every_source(name, job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = read(name)
    form, turns = ("released", 2) if name == "original" else ("tiny", 1)
    write_everything(tmp_path, [*content["train"], *content["val"], *content["test"]], turns)
    config = write_config(tmp_path, tmp_path)
    arguments = ["--config", str(config), "--data", str(ROOT / "configs" / "data" / f"{name}.yaml")]
    arguments += ["--data.num_workers", "0", "--data.samples_per_epoch", "8", "--trainer.max_steps", "1"]
    arguments += ["--trainer.default_root_dir", str(tmp_path / "run"), "--model.assistant.prompt_format", form]
    main(["fit", *arguments])
    if job == "test":
        main(["test", *arguments, "--ckpt_path", str(tmp_path / "run" / "checkpoints" / "last.ckpt")])
        scores = (tmp_path / "run" / "scores.json").read_text()
        for key in ("context_459/miou/lasagna-v1", "grefcoco_val/n_acc/grefcoco", "reasonseg_test/giou/lisa"):
            assert f"test/{key}" in scores
