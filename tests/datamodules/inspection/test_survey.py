"""Records are counted the same in any number of processes, and findings are those that are there."""

from __future__ import annotations

import json
import tarfile
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest

from lasagna.core.masks import RLEMask
from lasagna.core.record import Phrase, Question, Region, Turn
from lasagna.datamodules.inspection.findings import LONG, MEANINGS, NOTES
from lasagna.datamodules.inspection.reading import read_folder
from lasagna.datamodules.inspection.store import Store, StoredFindings
from lasagna.datamodules.inspection.survey import survey_record
from lasagna.datamodules.shards.manifest import read_manifest
from tests.helpers.inspected_shards import SIZE, mask, png, record, write, write_faulty


@pytest.fixture
def shards(tmp_path):
    return write_faulty(tmp_path)


def by_kind(findings):
    """Return the places of findings by kind; of a folder of shards, after it was read."""
    if isinstance(findings, StoredFindings):
        return {kind: list(findings.places(kind)) for kind in findings.totals()}
    found = {}
    for finding in findings:
        found.setdefault(finding.kind, []).append(finding.where)
    return found


def read(folder, processes=0):
    store = Store()
    number = read_folder(store, read_manifest(folder), {}, processes)
    store.note(number, store.doubled(number))
    return store.counts(number), StoredFindings(store, number)


def test_several_processes_count_the_same(shards):
    (counts, findings), (same, others) = read(shards / "train", 2), read(shards / "train")
    assert counts == same
    assert by_kind(findings) == by_kind(others)


def test_several_conversations_about_an_image_are_no_doubled_images(tmp_path):
    talks = [
        record(key, 1, conversation=(Turn("what?", "sky"),)) for key in ("000000000139", "000000000139~2", "other")
    ]
    write(tmp_path, talks)
    _, findings = read(tmp_path)
    assert by_kind(findings) == {"doubled images": ["other and 000000000139~2"]}


BEYOND, WITHIN = [[0, 0, 30, 0, 30, 9]], [[0, 0, 3, 0, 3, 3]]


def test_polygons_in_shards_that_reach_beyond_the_image_are_found(tmp_path):
    shard = write(tmp_path, [record("a", 1)]).shards[0]
    path = tmp_path / shard.file
    fields = {
        "key": "a",
        "size": SIZE,
        "regions": [
            {"name": "sky", "mask": BEYOND},
            {"name": "dog", "masks": [BEYOND, WITHIN], "crowds": [BEYOND]},
        ],
    }
    with tarfile.open(path, "w") as tar:
        for name, data in (("a.png", png(1)), ("a.json", json.dumps(fields).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    content = json.loads((tmp_path / "manifest.json").read_text())
    data = path.read_bytes()
    content["shards"][0] |= {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert by_kind(read(tmp_path)[1])["masks outside the image"] == ["a: sky", "a: dog", "a: dog"]


def test_texts_that_no_assistant_can_read_are_found():
    texts = {"phrases": (Phrase("the <SEG> sign", ()),), "conversation": (Turn("what?", "a " * LONG),)}
    _, found = survey_record(record("a", 1, questions=(Question("what?", "an <image> of it"),), **texts))
    assert by_kind(found) == {
        "tokens in texts": ["a: the <SEG> sign: <SEG>", "a: what?: <image>"],
        "long texts": [f"a: what?: {2 * LONG + 5} characters"],
    }
    assert not {"tokens in texts", "long texts"} & set(NOTES)


def test_names_with_the_same_pixels_are_noted():
    regions = tuple(Region(name, mask()) for name in ("sky", "dog"))
    _, found = survey_record(record("a", 1, regions=regions))
    assert by_kind(found) == {"equal masks": ["a: sky, dog"]} and "equal masks" in NOTES


def test_equal_and_empty_objects_of_a_name_are_found():
    """COCO's files have some: the same outline twice, or once as a cat and once as a dog."""
    first, second, empty = (np.zeros(SIZE, bool) for _ in range(3))
    first[:2], second[3:5] = True, True
    drawn = {"sky": (first, second, first, empty, first), "dog": (second,)}
    regions = [Region.of_objects(name, list(map(RLEMask.from_array, masks)), []) for name, masks in drawn.items()]
    _, found = survey_record(record("a", 1, regions=tuple(regions)))
    assert by_kind(found) == {
        "empty masks": ["a: sky (object 4)"],
        "equal objects": ["a: sky (1, 3, 5)"],
        "equal masks": ["a: dog, sky"],
    }
    assert {one.kind: one.count for one in found}["equal objects"] == 2 and "equal objects" not in NOTES


def test_names_whose_objects_overlap_are_counted():
    one, two, three, four = (np.zeros(SIZE, bool) for _ in range(4))
    one[:3], two[2:4], three[:1], four[4:] = True, True, True, True
    drawn = {"sky": (one, two), "dog": (three, four)}
    regions = [Region.of_objects(name, list(map(RLEMask.from_array, masks)), []) for name, masks in drawn.items()]
    counts, found = survey_record(record("a", 1, regions=tuple(regions)))
    assert (counts.annotations["names whose objects overlap"], found) == (1, [])


def test_every_meaning_but_those_of_notes_says_the_way_out():
    assert [kind for kind, meaning in MEANINGS.items() if ";" not in meaning] == ["shared images"]


def test_a_good_record_has_no_findings():
    assert survey_record(record("a", 1))[1] == []
    assert len(MEANINGS) == 21
    assert set(NOTES) <= set(MEANINGS)
