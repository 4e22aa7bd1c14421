"""Twins of photographs are exact: the thing is gone, another is in its place, and what is neither does not count."""

from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Phrase, Region
from lasagna.datamodules import Source, write_shards
from lasagna.datamodules.pasted_twins import LARGEST_FACTOR, PastedTwins, PlacedObject
from tests.helpers.data_fakes import Listing, png
from tests.helpers.made_records import record as made

SIZE = (40, 60)
NAMES = ("sky", "car", "dog", "cat")
COLOUR = {"car": 50, "dog": 100, "cat": 150}


def shape(top, left, height, width):
    pixels = np.zeros(SIZE, bool)
    pixels[top : top + height, left : left + width] = True
    return pixels


def photograph(key, name, mask, *, labelled=False, unannotated="absent", absent=(), further=()):
    """A grey picture with one thing in its colour, and perhaps further objects."""
    image = np.full((*SIZE, 3), 10, np.uint8)
    image[mask] = COLOUR[name]
    labels = np.where(mask, 2, 0) if labelled else None
    manifest = Manifest("made", NAMES, {0: "sky", 2: "car", 3: "dog"} if labelled else {}, (255,), unannotated)
    regions = (Region.of_objects(name, [RLEMask.from_array(mask)]), *further)
    parts = {"regions": regions, "absent": absent, "phrases": (Phrase("it", (RLEMask.from_array(mask),)),)}
    return replace(made(labels, manifest), key=key, image_bytes=png(image), size=SIZE, **parts)


def twins_of(records, folder):
    write_shards(records, folder, records[0].manifest)
    return PastedTwins(Source(str(folder), Listing()))


@pytest.mark.parametrize("labelled", [False, True])
def test_an_object_of_another_picture_takes_the_place(tmp_path, labelled):
    car, dog = shape(5, 10, 12, 10), shape(20, 20, 10, 14) & ~np.eye(*SIZE, k=4, dtype=bool)
    first = photograph("first", "car", car, labelled=labelled)
    twins = twins_of([first, replace(photograph("second", "dog", dog), manifest=first.manifest)], tmp_path)
    twin = twins(first, np.random.default_rng(0))
    assert (twin.name, twin.other, twin.record.key) == ("car", "dog", "first")
    masks, image = twin.record.category_masks(), twin.record.image()
    pasted, ignored = masks["dog"].decode(), twin.record.ignored().decode()
    assert "car" not in masks and not twin.record.phrases
    assert (ignored == car & ~pasted).all() and ignored.any() and pasted.any()
    assert (image[~car & ~pasted] == first.image()[~car & ~pasted]).all()
    assert not (image[car] == COLOUR["car"]).all(-1).any(), "nothing of the thing is left"
    assert (image[pasted] > 40).mean() > 0.8, "the object is shown where its mask is"
    assert abs(np.argwhere(pasted).mean(0) - np.argwhere(car).mean(0)).max() < 6
    assert len(twin.record.objects()["dog"].masks) == 1
    again = twins(first, np.random.default_rng(0)).record
    assert again.image_bytes == twin.record.image_bytes


def test_only_what_is_there_once_gives_way_to_what_is_known_to_be_absent(tmp_path):
    car, dog = shape(5, 10, 12, 10), shape(20, 20, 10, 14)
    options = {"unannotated": "unknown"}
    records = [
        photograph("one", "car", car, **options, absent=("dog",)),
        photograph("unsure", "car", car, **options),
        photograph("two", "dog", dog, **options),
        photograph("cat", "cat", dog, **options),
    ]
    double = Region.of_objects("car", [RLEMask.from_array(car), RLEMask.from_array(dog)])
    crowded = Region.of_objects("car", [RLEMask.from_array(car)], [RLEMask.from_array(dog)])
    twins = twins_of(records, tmp_path)
    names = {twins(records[0], np.random.default_rng(seed)).other for seed in range(5)}
    assert names == {"dog"}, "cats may be there unseen"
    for record in (
        records[1],
        replace(records[0], regions=(double,)),
        replace(records[0], regions=(crowded,)),
        replace(records[0], unclear=("car",)),
        replace(records[0], regions=(Region("car", RLEMask.from_array(car)),)),
    ):
        assert twins(record, np.random.default_rng(0)) is None
    left = twins(records[0], np.random.default_rng(0)).record
    assert left.absent == ("car",)


def test_an_object_is_scaled_to_the_thing_and_reaches_over_the_edge_of_its_picture():
    donor = photograph("donor", "dog", shape(0, 0, 10, 10))
    placed = PlacedObject("dog", donor, shape(0, 0, 10, 10), shape(20, 40, 20, 20))
    assert placed.factor == pytest.approx(2.2) and placed.mask[20:40, 40:60].all()
    assert placed.similarity == pytest.approx(400 / placed.mask.sum()) and placed.similarity > 0.8
    assert (placed.pixels()[placed.mask] >= 55).all() and placed.pixels().shape == (*SIZE, 3)
    assert (placed.pixels()[:19, :39] == placed.pixels()[19, 39]).all(), "the corner of its picture goes on"
    assert PlacedObject("dog", donor, shape(0, 0, 2, 2), shape(20, 40, 20, 20)).factor > LARGEST_FACTOR
