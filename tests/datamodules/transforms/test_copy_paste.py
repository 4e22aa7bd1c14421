"""Pasted objects are exact: what they show, what they cover, and what is known of it."""

from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Phrase, Region
from lasagna.datamodules import CopyPaste, Source, write_shards
from lasagna.datamodules.shards.codec import encode_record
from lasagna.datamodules.streaming.sample import ask_record
from lasagna.datamodules.transforms import copy_paste
from lasagna.datamodules.transforms.copy_paste import Pasted, paste
from lasagna.errors import ConfigError, RecordError
from tests.helpers.data_fakes import Listing, png
from tests.helpers.made_records import record as made

NAMES = ("sky", "road", "car", "dog")
SIZE = (40, 60)


def square(top, left, side):
    pixels = np.zeros(SIZE, bool)
    pixels[top : top + side, left : left + side] = True
    return RLEMask.from_array(pixels)


def scene(number, *, labelled=False, unannotated="unknown"):
    """A record with two cars, a crowd of dogs on odd numbers, and perhaps a label map of sky and cars."""
    rng = np.random.default_rng(number)
    cars = [square(*rng.integers(2, 20, 2), 12), square(25, 35, 10)]
    regions = [Region.of_objects("car", cars)]
    if number % 2:
        regions.append(Region.of_objects("dog", [square(4, 40, 8)], [square(14, 45, 9)]))
    labels = np.zeros(SIZE, np.uint8)
    for car in cars:
        labels[car.decode()] = 2
    manifest = Manifest("made", NAMES, {0: "sky", 1: "road", 2: "car"} if labelled else {}, (255,), unannotated)
    record = made(labels if labelled else None, manifest)
    image = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    return replace(
        record,
        key=f"s{number}",
        image_bytes=png(image),
        size=SIZE,
        regions=tuple(regions),
        phrases=(Phrase("the car", (cars[0],)),),
        ignore=square(0, 0, 9),
        absent=("dog",) if unannotated == "unknown" and not number % 2 else (),
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for labelled in (False, True):
        records = [scene(number, labelled=labelled) for number in range(6)]
        write_shards(records, folder / str(labelled), records[0].manifest, records_per_shard=4)
    return {labelled: Source(str(folder / str(labelled)), Listing()) for labelled in (False, True)}


@pytest.mark.parametrize("labelled", [False, True])
def test_masks_lose_what_lies_behind_and_pasted_objects_are_objects(sources, labelled, monkeypatch):
    transform, pasted = CopyPaste(1.0, objects=(2, 3)).for_source(sources[labelled]), []
    monkeypatch.setattr(copy_paste, "paste", lambda record, objects: pasted.append(objects) or paste(record, objects))
    for number in range(6):
        before = scene(number, labelled=labelled)
        after = transform(before, np.random.default_rng(number))
        assert after == transform(before, np.random.default_rng(number)), "the same objects again"
        objects = pasted[-1]
        covered = np.logical_or.reduce([one.mask for one in objects])
        assert not ((after.image() != before.image()).any(-1) & ~covered).any()
        in_front = [one.mask & ~np.logical_or.reduce([covered & False, *(o.mask for o in objects[rank + 1 :])])
                    for rank, one in enumerate(objects)]  # fmt: skip
        for name, region in after.objects().items():
            old = before.objects()[name].masks if name in before.objects() else ()
            expected = [mask.decode() & ~covered for mask in old]
            expected += [mask for mask, one in zip(in_front, objects, strict=True) if one.name == name]
            found = [mask.decode() for mask in region.masks]
            assert np.array_equal(found, [mask for mask in expected if mask.any()])
        for name in NAMES:
            masks = [record.category_masks().get(name) for record in (before, after)]
            old, new = (covered & False if mask is None else mask.decode() for mask in masks)
            own = [mask for mask, one in zip(in_front, objects, strict=True) if one.name == name]
            assert np.array_equal(new, np.logical_or.reduce([old & ~covered, *own]))
            assert (name in after.absent) <= (not new.any())
        assert np.array_equal(after.ignore.decode(), before.ignore.decode() & ~covered)
        assert after.phrases == ()
    assert len(pasted) >= 10
    names = {one.name for objects in pasted for one in objects}
    assert names == ({"car"} if labelled else {"car", "dog"}), "dogs have no value in the label map"


def test_what_is_covered_completely_is_absent_and_a_front_object_covers_another():
    record = scene(1)
    whole, drawn = np.ones(SIZE, bool), np.full((*SIZE, 3), 7, np.uint8)
    small = square(10, 10, 5).decode()
    after = paste(record, [Pasted("car", whole, drawn), Pasted("road", small, drawn)])
    assert set(after.category_masks()) == {"car", "road"}
    assert after.absent == ("dog",)
    assert np.array_equal(after.category_masks()["car"].decode(), ~small)
    assert (after.image() == 7).all()


def test_a_category_without_objects_of_its_own_is_not_pasted_into(sources):
    transform = CopyPaste(1.0, names=["car"]).for_source(sources[False])
    stuff = replace(scene(0), regions=(Region("car", square(0, 0, 5)),))
    assert all(transform(stuff, np.random.default_rng(seed)) is stuff for seed in range(5))


def test_the_same_record_gets_the_same_objects_in_any_process(sources):
    source = replace(sources[False], transforms=[CopyPaste(0.7)])
    raw = {"__key__": "s2", "__url__": "here", **encode_record(scene(2))}
    [first, again, other] = [
        ask_record(raw, source, lambda dialogue, rng: dialogue, seed=seed)[0] for seed in (0, 0, 1)
    ]
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", ["car", "left arm"])
def test_objects_are_mirrored_unless_their_names_have_sides(name):
    mask, image = np.zeros(SIZE, bool), np.zeros((*SIZE, 3), np.uint8)
    mask[5:25, 5:45], image[:, :25] = True, 200
    found = [CopyPaste(scale=(1, 1)).placed(name, mask, image, SIZE, np.random.default_rng(seed)) for seed in range(9)]
    bright_left = {bool(one.image[one.mask][np.nonzero(one.mask)[1].argmin(), 0]) for one in found}
    assert bright_left == ({True, False} if name == "car" else {True})


def test_a_donor_that_cannot_be_read_gives_nothing(sources, monkeypatch):
    transform, record = CopyPaste(1.0).for_source(sources[False]), scene(0)
    monkeypatch.setattr(copy_paste, "decode_record", lambda *_: replace(scene(1), image_bytes=b"broken"))
    assert transform(record, np.random.default_rng(0)) is record

    def refuse(*_):
        raise RecordError("broken")

    monkeypatch.setattr(copy_paste, "decode_record", refuse)
    assert transform(record, np.random.default_rng(0)) is record


def test_what_cannot_be_used_is_told(sources):
    with pytest.raises(ConfigError, match="call `for_source` first"):
        CopyPaste()(scene(0), np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"`names` are no categories of 'made': \['cat'\]"):
        CopyPaste(names=["cat"]).for_source(sources[False])
    with pytest.raises(ConfigError, match="no record of 'made' tells objects of `names` apart"):
        CopyPaste(names=["sky"]).for_source(sources[False])
    with pytest.raises(ConfigError, match="has no `index` of its records"):
        CopyPaste().for_source(object())
    for arguments in (
        {"probability": 2}, {"objects": (0, 2)}, {"scale": (2, 1)}, {"flip": -1}, {"place": "there"}, {"largest": 0}
    ):  # fmt: skip
        [name] = arguments
        with pytest.raises(ValueError, match=f"CopyPaste: `{name}`"):
            CopyPaste(**arguments)


def test_an_image_of_another_size_than_its_masks_is_a_broken_record():
    torn = replace(scene(0), image_bytes=png(np.zeros((7, 9, 3), np.uint8)))
    with pytest.raises(RecordError, match=r"the image has size \(7, 9\), its annotations have \(40, 60\)"):
        paste(torn, [])
