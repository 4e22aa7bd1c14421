"""Panoptic asks for things apart, for stuff as one mask, and for what is absent."""

import numpy as np
import pytest

from lasagna.core.record import Region
from lasagna.errors import ConfigError
from lasagna.tasks import Panoptic
from tests.helpers.made_records import mask, record


def asked(item):
    return Panoptic(stuff=["sky", "Sea"]).dialogues(item, np.random.default_rng(0))


def test_things_are_apart_stuff_is_one_mask_and_pixels_that_are_not_told_apart_are_crowds():
    one, two, group = mask("#...", "...."), mask("..#.", "...."), mask("...#", "...#")
    dog = Region.of_objects("dog", [one, two], [group])
    (dialogue,) = asked(record([[3, 1, 3, 3], [2, 2, 4, 3]], regions=(dog,)))
    assert (dialogue.kind, dialogue.query) == ("panoptic", ("sky", "sea", "dog", "cat"))
    entries = {entry.name: entry for entry in dialogue.entries}
    assert [len(entries[name].masks) for name in dialogue.query] == [1, 1, 2, 0]
    assert entries["dog"].crowds == (group,)
    assert [crowd.decode().sum() for crowd in entries["cat"].crowds] == [1]


def test_unclear_and_ignored_names_are_left_out():
    dog = Region.of_objects("dog", [mask("#...", "....")])
    (dialogue,) = asked(record(regions=(dog,), unclear=("cat",), ignore=mask("#...", "....")))
    assert dialogue.query == ("sky", "sea") and not dialogue.entries
    assert asked(record(regions=(dog,), unclear=("sky", "sea", "dog", "cat"))) == []


def test_its_scores_are_named_and_stuff_must_be_known():
    names = ["MeanIoU_1", "PanopticQuality_0", "Presence_2"]
    assert sorted(Panoptic(["sky"]).metrics(("dog", "sky"))) == names
    with pytest.raises(ConfigError, match=r"stuff: \['sea'\] are no categories of the data set; it has dog, sky"):
        Panoptic(["sky", "sea"]).metrics(("dog", "sky"))
