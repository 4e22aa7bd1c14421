"""``lasagna evaluate`` treats records as ``test`` does: what is refused, what is skipped, and with which seed."""

import json
from dataclasses import replace
from io import BytesIO
from typing import ClassVar

import numpy as np
import pytest
import yaml
from PIL import Image

from lasagna.__main__ import main
from lasagna.cli.train import main as train
from lasagna.datamodules import SkippedRecordWarning, write_shards
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.tasks import Semantic
from lasagna.tasks.metrics import DialogueMetric, Presence, Quantity, collect
from tests.helpers.tiny_run import write_config, write_scenes

SEMANTIC = {"class_path": "lasagna.tasks.Semantic"}
CROP = {"class_path": "lasagna.datamodules.RandomCrop"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    config = write_config(folder, write_scenes(folder / "scenes"))
    options = ["--trainer.default_root_dir", str(folder / "run"), "--data.seed", "7"]
    train(["fit", "--config", str(config), *options])
    return folder


@pytest.fixture(scope="module")
def records(place):
    shard_set = read_manifest(place / "scenes" / "test")
    share = read_share(shard_set, shard_set.shards, ShardSplit())
    return [decode_record(raw, shard_set.manifest) for raw in share]


def write_data(folder, records, transforms=(), **options):
    """Write shards, and the config of a data module that tests on them."""
    write_shards(records, folder / "shards", records[0].manifest)
    source = {"shards": str(folder / "shards"), "task": SEMANTIC, "transforms": list(transforms)}
    content = {"class_path": "lasagna.datamodules.ShardDataModule", "init_args": {"test": [source], **options}}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder / "data.yaml"


def evaluate(place, data, out, *options):
    ckpt = place / "run" / "checkpoints" / "last.ckpt"
    words = ["--ckpt", ckpt, "--data", data, "--out", out, "--device", "cpu", *options]
    main(["evaluate", *map(str, words)])


def png(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def with_larger_image(record):
    return replace(record, image_bytes=png(np.zeros((64, 64, 3), np.uint8)))


def with_truncated_image(record):
    return replace(record, image_bytes=record.image_bytes[:200])


def write_unreadable_labels(folder, records, damaged, **options):
    """Write shards, and overwrite the labels of a record there, since the writer refuses such records."""
    data = write_data(folder, records, **options)
    [shard] = (folder / "shards").glob("*.tar")
    content = shard.read_bytes()
    assert content.count(damaged.label_bytes) == 1
    shard.write_bytes(content.replace(damaged.label_bytes, bytes(len(damaged.label_bytes))))
    return data


def error_of(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        command()
    assert stopped.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("transforms", [(), (CROP,)])
def test_an_image_of_another_size_than_its_annotations_is_refused_as_in_test(
    place, records, tmp_path, capsys, transforms
):
    data = write_data(tmp_path, [with_larger_image(records[0]), *records[1:]], transforms)
    source = yaml.safe_load(data.read_text())["init_args"]["test"]
    config = ["--config", str(place / "tiny.yaml"), "--data.test", json.dumps(source)]
    ckpt = ["--ckpt_path", str(place / "run" / "checkpoints" / "last.ckpt")]
    out = ["--trainer.default_root_dir", str(tmp_path / "test")]
    expected = error_of(capsys, lambda: train(["test", *config, *ckpt, *out]))
    assert "the image has size (64, 64), its annotations have (32, 32)" in expected
    assert error_of(capsys, lambda: evaluate(place, data, tmp_path / "out")) == expected


def test_a_truncated_image_is_skipped_and_reported(place, records, tmp_path, capsys):
    broken = with_truncated_image(records[1])
    data = write_data(tmp_path, [records[0], broken, *records[2:]], broken="skip", evaluation_batch_size=4)
    with pytest.warns(SkippedRecordWarning, match=f"skipped a broken record: .*record {broken.key}"):
        evaluate(place, data, tmp_path / "out", "--controls", "[]")
    found = json.loads((tmp_path / "out" / "scores.json").read_text())["stages"]["test"]
    assert found["records"] == {"scenes-semantic": len(records) - 1}
    assert list(found["skipped"]["scenes-semantic"]) == [broken.key]
    assert "scenes-semantic: 1 broken records were skipped" in capsys.readouterr().out
    for name in ("report.md", "report.html"):
        report = (tmp_path / "out" / name).read_text()
        assert "Skipped records" in report and broken.key in report


def test_scoring_again_knows_what_was_skipped(place, records, tmp_path):
    data = write_data(tmp_path, [with_truncated_image(records[0]), *records[1:]], broken="skip")
    evaluate(place, data, tmp_path / "out", "--controls", "[]")
    before = json.loads((tmp_path / "out" / "scores.json").read_text())
    evaluate(place, data, tmp_path / "out", "--controls", "[]")
    main(["evaluate", "--predictions", str(tmp_path / "out"), "--out", str(tmp_path / "again")])
    for folder in ("out", "again"):
        assert json.loads((tmp_path / folder / "scores.json").read_text()) == before


def test_an_unreadable_record_leaves_the_controls_to_the_others(place, records, tmp_path):
    broken = records[0]
    data = write_unreadable_labels(tmp_path, records, broken, broken="skip")
    evaluate(place, data, tmp_path / "out", "--controls", '["same-set", "co-occurring"]')
    found = json.loads((tmp_path / "out" / "scores.json").read_text())["stages"]["test"]
    names = [f"scenes-semantic{control}" for control in ("", "-same-set", "-co-occurring")]
    assert found["records"] == {name: len(records) - 1 for name in names}
    assert {name: list(keys) for name, keys in found["skipped"].items()} == {name: [broken.key] for name in names}


def test_a_broken_record_ends_an_evaluation_by_default_and_is_named(place, records, tmp_path, capsys):
    data = write_unreadable_labels(tmp_path, records, records[1])
    controls = ["--controls", "[]"]
    error = error_of(capsys, lambda: evaluate(place, data, tmp_path / "out", *controls))
    assert f"000000.tar: record {records[1].key}: the label map cannot be decoded" in error
    assert "leave such records out by `data.broken: skip`" in error
    controls = ["--controls", '["co-occurring"]', "--limit", 1]
    error = error_of(capsys, lambda: evaluate(place, data, tmp_path / "other", *controls))
    assert f"controls: 'co-occurring' counts the categories of all records; {tmp_path}" in error


def test_where_all_records_are_broken_the_error_says_so(place, records, tmp_path, capsys):
    data = write_data(tmp_path, [with_truncated_image(record) for record in records], broken="skip")
    error = error_of(capsys, lambda: evaluate(place, data, tmp_path / "out", "--controls", "[]"))
    assert f"{len(records)} were broken" in error


def seed_of(folder):
    return json.loads((folder / "evaluation.json").read_text())["seed"]


def test_the_seed_is_the_runs_own_unless_one_is_given(place, records, tmp_path):
    data = write_data(tmp_path, records[:1], seed=3)
    options = ["--controls", "[]", "--limit", 1]
    ckpt = str(place / "run" / "checkpoints" / "last.ckpt")
    main(["evaluate", "--ckpt", ckpt, "--out", str(tmp_path / "own"), "--device", "cpu", *map(str, options)])
    evaluate(place, data, tmp_path / "data", *options)
    evaluate(place, place / "scenes", tmp_path / "folder", *options)
    evaluate(place, place / "scenes", tmp_path / "given", *options, "--seed", 5)
    found = {name: seed_of(tmp_path / name) for name in ("own", "data", "folder", "given")}
    assert found == {"own": 7, "data": 3, "folder": 7, "given": 5}


class Listed(Semantic):
    """Lists of categories with a score of their own."""

    def metrics(self, categories):
        return collect([Presence(), Length()])


class Length(DialogueMetric):
    protocol = "mine-v1"
    quantities: ClassVar = {"names_a_list": Quantity("mean number of names", higher_is_better=False, upper=99.0)}

    def __init__(self):
        super().__init__()
        self.add_sum("names")
        self.add_sum("lists")

    def update(self, dialogue, answer):
        self.names += len(dialogue.query)
        self.lists += 1

    def compute(self):
        return {self.key("names_a_list"): self.names / self.lists}


def test_a_metric_of_a_task_of_ones_own_has_its_arrow_and_description_in_the_report(place, records, tmp_path):
    data = write_data(tmp_path, records)
    content = yaml.safe_load(data.read_text())
    content["init_args"]["test"][0]["task"] = {"class_path": f"{__name__}.Listed"}
    data.write_text(yaml.safe_dump(content))
    evaluate(place, data, tmp_path / "out", "--controls", "[]")
    report = (tmp_path / "out" / "report.md").read_text().splitlines()
    assert [row for row in report if row.startswith("| names_a_list ")] == [
        "| names_a_list ↓ | mine-v1 | 24.000 | mean number of names |"
    ]


def test_cocos_files_are_refused_before_anything_is_answered_where_nothing_asks_for_objects(
    place, records, tmp_path, capsys
):
    data = write_data(tmp_path, records)
    message = error_of(capsys, lambda: evaluate(place, data, tmp_path / "out", "--coco", "true"))
    assert "coco: no source asks for objects" in message
    assert not (tmp_path / "out").exists()
