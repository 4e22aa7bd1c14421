"""Scenes are written once, and hold what the tasks need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.seeding import generator
from lasagna.datamodules import SceneWriter, read_manifest
from lasagna.datamodules.scenes import CATEGORIES, LONG_NAMES, RULES, STUFF, draw_scene
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.writer import scene_record
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.errors import ConfigError


def records(folder):
    shard_set = read_manifest(folder)
    return [decode_record(raw, shard_set.manifest) for raw in read_share(shard_set, shard_set.shards, ShardSplit())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    SceneWriter(str(folder), train=6, val=3, test=0, seed=4, processes=0).prepare()
    return folder


def test_scenes_hold_maps_phrases_riddles_and_questions(folder):
    found = records(folder / "train")
    assert [item.key for item in found] == [f"train-{index:06d}" for index in range(6)]
    for item in found:
        assert item.image().shape == (96, 96, 3)
        assert item.manifest.categories == CATEGORIES
        masks = item.category_masks()
        assert masks and set(masks) <= set(CATEGORIES)
        assert len(item.phrases) == 8
        riddles = [question for question in item.questions if question.masks is not None]
        assert len(riddles) == 4 and len(item.questions) == 12
        for riddle in riddles:
            meant = [masks[name].decode() for name in RULES[riddle.text] if name in masks]
            assert len(riddle.masks) == bool(meant)
            if meant:
                assert np.array_equal(riddle.masks[0].decode(), np.any(meant, axis=0))
    assert {phrase.kind for item in found for phrase in item.phrases} >= {"absent"}
    assert any(phrase.masks for item in found for phrase in item.phrases)


@pytest.mark.parametrize("long_names", [False, True])
def test_each_thing_is_an_object_and_stuff_has_none(long_names):
    settings = SceneSettings(4, "train", 6, long_names=long_names)
    for index in range(6):
        item = scene_record(settings, index)
        scene = draw_scene(generator(4, 0, f"train/{index}"), 96)
        masks, objects = item.category_masks(), item.objects()
        assert set(objects) == set(masks) - set(STUFF)
        for name, region in objects.items():
            pixels = np.array([mask.decode() for mask in region.masks])
            assert np.array_equal(pixels.sum(0), masks[name].decode())  # they do not overlap
        found = [mask.decode() for region in objects.values() for mask in region.masks]
        drawn = [scene.mask([place]) for place in range(len(scene.things))]
        assert sorted(mask.tobytes() for mask in found) == sorted(mask.tobytes() for mask in drawn)


def test_splits_differ(folder):
    assert not {item.image_bytes for item in records(folder / "train")} & {
        item.image_bytes for item in records(folder / "val")
    }
    assert not (folder / "test").exists()


def test_scenes_are_written_again_only_if_something_differs(folder, capsys):
    manifest = folder / "train" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    SceneWriter(str(folder), train=6, val=3, test=0, seed=4).prepare()
    assert manifest.stat().st_mtime_ns == before
    assert capsys.readouterr().out == ""


def test_other_settings_or_a_broken_shard_are_written_again(tmp_path):
    def write(**kwargs):
        SceneWriter(str(tmp_path), **({"train": 2, "val": 0, "test": 0, "processes": 0} | kwargs)).prepare()
        return read_manifest(tmp_path / "train")

    first = write()
    assert write(seed=1).shards != first.shards
    assert write().shards == first.shards
    (tmp_path / "train" / "000000.tar").write_bytes(b"")
    again = write()
    again.verify()
    assert again.shards == first.shards


def test_long_names_are_regions_and_every_pixel_has_one_or_is_ignored(tmp_path):
    SceneWriter(str(tmp_path), train=3, val=0, test=0, long_names=True, processes=0).prepare()
    for item in records(tmp_path / "train"):
        assert item.manifest.categories == LONG_NAMES
        assert item.label_bytes is None
        claimed = np.sum([mask.decode() for mask in item.category_masks().values()], axis=0)
        ignored = item.ignored()
        rest = np.zeros((96, 96), dtype=bool) if ignored is None else ignored.decode()
        assert np.array_equal(claimed + rest, np.ones((96, 96)))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"train": -3}, "`train` must be at least 0, got -3"),
        ({"val": -1, "test": -2}, "`val` must be at least 0, got -1; `test` must be at least 0, got -2"),
        ({"size": 4}, "`size` must be at least 16, got 4"),
        ({"processes": -1}, "`processes` must be at least 0, got -1"),
        ({"together": 2, "twins": -1}, r"`together` must be in \[0, 1\], got 2; `twins` must be in \[0, 1\], got -1"),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path, settings, told):
    with pytest.raises(ConfigError, match=f"SceneWriter: {told}"):
        SceneWriter(str(tmp_path), **settings)


def test_captions_are_added_to_scenes_that_stay_the_same():
    plain, told = (SceneSettings(seed=1, split="train", count=1, captions=captions) for captions in (False, True))
    assert "captions" not in plain.stored() and told.stored() == {**plain.stored(), "captions": True}
    record = scene_record(told, 0)
    [caption] = record.captions
    assert caption.phrases and scene_record(plain, 0) == replace(record, captions=())
