"""Loading an assistant without a path: the one that comes with the package."""

import json
from pathlib import Path

import pytest

import lasagna
from lasagna.__main__ import main
from lasagna.core.seeding import generator
from lasagna.datamodules.scenes.writer import SceneSettings, scene_record
from lasagna.tasks import Referring, Semantic

SCENE = Path(__file__).parents[3] / "docs" / "images" / "scene.png"


@pytest.fixture(scope="module")
def assistant():
    return lasagna.load()


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Semantic(), {"miou/lasagna-v1": 0.85, "presence_f1/lasagna-v1": 0.98}),
        (Referring(phrases=4), {"giou/grefcoco": 0.75}),
    ],
    ids=["semantic", "referring"],
)
def test_packaged_assistant_knows_scenes_that_it_has_not_seen(assistant, task, expected):
    settings = SceneSettings(seed=11, split="unseen", count=4)
    metrics = task.metrics(settings.manifest().categories)
    for index in range(settings.count):
        record = scene_record(settings, index)
        for dialogue in task.dialogues(record, generator(0, 0, record.key)):
            answer = assistant.answer(record.image(), dialogue.query, dialogue.kind)
            for metric in metrics.values():
                metric.update(dialogue, answer)
    scores = metrics.compute()
    assert {key: float(scores[key]) for key, least in expected.items() if scores[key] < least} == {}


def test_predict_asks_the_packaged_assistant_unless_one_is_named(tmp_path, capsys):
    main(["predict", f"--image={SCENE}", "--query=sky, dog, house", f"--out={tmp_path}", "--device=cpu"])
    assert "small assistant of the package" in capsys.readouterr().out
    entries = json.loads((tmp_path / "scene.json").read_text(encoding="utf-8"))["answers"][0]["entries"]
    assert [(entry["name"], entry["present"]) for entry in entries] == [("sky", True), ("dog", False), ("house", True)]
