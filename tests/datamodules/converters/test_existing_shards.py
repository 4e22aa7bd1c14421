import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from lasagna.datamodules.converters.existing_shards import index
from lasagna.datamodules.inspection.survey import survey_shard
from lasagna.datamodules.shards.codec import decode_record, record_key
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.datamodules.shards.reader import read_shard
from lasagna.datamodules.shards.writer import write_shards
from lasagna.errors import LasagnaError
from tests.helpers.exports import SIZE, png, write_webdataset
from tests.helpers.made_records import manifest
from tests.helpers.made_records import record as made_record

OBJECTS = {"masks": "json:objects.mask", "names": "json:objects.category"}


def records(folder):
    shard_set = read_manifest(folder)
    shard_set.verify()
    raws = [raw for shard in shard_set.shards for raw in read_shard(shard_set, shard)]
    found = [decode_record(raw, shard_set.manifest) for raw in raws]
    assert [record.key for record in found] == [record_key(raw) for raw in raws]
    return {record.key: record for record in found}


def write(folder, **files):
    """Write a shard of one sample."""
    content = {"jpg": png(np.zeros((*SIZE, 3), np.uint8)), **files}
    with tarfile.open(folder / "a.tar", "w") as tar:
        for extension, data in content.items():
            info = tarfile.TarInfo(f"one.{extension}")
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return folder


def test_shards_of_others_are_read_once_and_where_they_are(tmp_path, monkeypatch):
    write_webdataset(tmp_path / "theirs")
    before = {path: path.read_bytes() for path in (tmp_path / "theirs").iterdir()}
    opened, open_ = [], Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *rest, **more: opened.append(self.name) or open_(self, *rest, **more)
    )
    index(tmp_path / "theirs", "PNG", **OBJECTS, target=tmp_path / "mine")
    monkeypatch.undo()
    assert sorted(name for name in opened if name.endswith(".tar")) == ["train-0.tar", "train-1.tar"]
    assert {path: path.read_bytes() for path in (tmp_path / "theirs").iterdir()} == before
    found = records(tmp_path / "mine")
    assert list(found) == [f"train-{shard}/images/{number:04d}" for shard in (0, 1) for number in (0, 1)]
    for record in found.values():
        square = record.category_masks()["coffee cup"].decode()
        assert (record.size, square.sum(), square[4:12, 5:20].all()) == (SIZE, 120, True)
        assert record.image().shape == (*SIZE, 3) and record.objects()["coffee cup"].masks
        assert record.unclear == ("fork",)
    about = read_manifest(tmp_path / "mine").manifest
    assert (about.categories, about.aliases) == (("coffee cup", "fork"), {"coffee cup": ("coffee_cup",)})
    shard_set = read_manifest(tmp_path / "mine")
    inspected = [survey_shard(shard_set, shard) for shard in shard_set.shards]
    assert sum(part.counts.records for part in inspected) == 4
    assert not any(part.findings for part in inspected)


def test_label_maps_with_a_file_of_classes_and_a_manifest_beside_the_shards(tmp_path):
    write_webdataset(tmp_path)
    (tmp_path / "classes.txt").write_text("background\ncup\nfork\n")
    options = {"labels": "seg.png", "classes": tmp_path / "classes.txt", "pattern": "train-1.tar"}
    index(tmp_path, "png", **options)
    one, two = records(tmp_path).values()
    assert (one.key, [*one.category_masks()], [*two.category_masks()]) == ("images/0000", ["cup"], ["fork"])
    assert one.category_masks()["cup"].decode().sum() == 120
    (tmp_path / "classes.txt").write_text("background\ncup\n")
    with pytest.raises(LasagnaError, match=r"train-1\.tar: .*label values \[2\] are neither labels nor void"):
        index(tmp_path, "png", **options)
    index(tmp_path, "png", **options, broken="skip")
    assert read_manifest(tmp_path).tally.left_out == {"missing or broken files": 1}


@pytest.mark.parametrize("mask", [[5.0, 4, 20, 4, 20, 12, 5, 12], [[5.0, 4, 20, 4, 20, 12, 5, 12]]])
def test_phrases_and_numbers_of_classes(tmp_path, mask):
    write(tmp_path, json=json.dumps({"mask": mask, "text": "the cup", "class": 3}).encode())
    (tmp_path / "classes.json").write_text('{"3": "cup"}')
    parts = {"masks": "json:mask", "texts": "json:text", "names": "json:class"}
    index(tmp_path, "jpg", **parts, classes=tmp_path / "classes.json")
    (record,) = records(tmp_path).values()
    assert [(phrase.text, phrase.masks[0].decode().sum()) for phrase in record.phrases] == [("the cup", 120)]
    assert record.category_masks()["cup"].decode().sum() == 120


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"objects": []}, {"image": "png"}, "there is no file with the extension 'png'; there are jpg, json"),
        ({"objects": []}, OBJECTS, "none of its 1 images has a mask or a phrase"),
        ({"things": []}, OBJECTS, r"json:objects\.mask: there is no such field|json:objects\.category: there is no"),
        ({"objects": [{"category": 1, "mask": []}]}, OBJECTS, "has the class 1; give a file that names the numbers"),
        ({"objects": [{"category": "a", "mask": [[0.1] * 6]}]}, OBJECTS, "its points are fractions of the image"),
        (
            {"objects": [{"category": "a", "mask": {"x": 1}}]},
            OBJECTS,
            r"a\.tar: record one: masks\[0\]: mask: expected",
        ),
        ({"objects": [{"category": "a, b", "mask": []}]}, OBJECTS, "'a, b' cannot be asked for"),
        (
            {"n": ["a", "b"], "m": [[]]},
            {"masks": "json:m", "names": "json:n"},
            "names: 2 of them, and not as many masks",
        ),
        ({}, {"masks": "json:m"}, r"name the extension of label maps, or where masks .* `--masks json:objects"),
        ({}, {"labels": "seg.png"}, "label maps need a file that names their values"),
        ({}, {**OBJECTS, "pattern": "b*.tar"}, r"there is no file b\*\.tar in"),
    ],
)
def test_faults_are_named_with_the_way_out(tmp_path, content, options, message):
    write(tmp_path, json=json.dumps(content).encode())
    with pytest.raises(LasagnaError, match=message):
        index(tmp_path, **{"image": "jpg", **OBJECTS, **options} if "image" in options else {"image": "jpg", **options})
    assert not (tmp_path / "manifest.json").exists()


def test_broken_shards_and_those_of_this_package_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(LasagnaError, match=r"a\.tar: the shard cannot be read"):
        index(tmp_path, "jpg", **OBJECTS)
    write_shards([made_record()], tmp_path / "own", manifest())
    with pytest.raises(LasagnaError, match="it holds shards that this package has written"):
        index(tmp_path / "own", "jpg", **OBJECTS)
