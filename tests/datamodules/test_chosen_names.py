"""Only the given names are asked, or twins: those that are twins of most present names first."""

import numpy as np
import pytest

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest
from lasagna.datamodules import OnlyNames, TwinNames
from lasagna.datamodules.chosen_names import twins_of
from lasagna.datamodules.scenes import LONG_NAMES
from lasagna.errors import ConfigError

MASK = RLEMask.from_array(np.ones((2, 2)))


def asked(*present, names=LONG_NAMES):
    return Dialogue("categories", names, tuple(Entry(name, True, MASK) for name in names if name in present))


def test_twins_are_the_same_thing_with_another_word():
    found = twins_of(("Brown bear", "polar bear", "polar  fox", "sky", "left red ball", "left blue ball", "red ball"))
    assert found == {
        "Brown bear": ("polar bear",),
        "polar bear": ("Brown bear",),
        "left red ball": ("left blue ball",),
        "left blue ball": ("left red ball",),
    }


def test_names_of_which_each_word_is_true_come_before_others_and_nothing_else_is_asked():
    for seed in range(20):
        dialogue = TwinNames(5)(asked("sky", "left red ball", "right blue ball"), np.random.default_rng(seed))
        assert {"left red ball", "right blue ball", "left blue ball", "right red ball"} < set(dialogue.query)
        assert len(dialogue.query) == 5 and all(name.endswith("ball") for name in dialogue.query)
        assert [entry.name for entry in dialogue.entries] == ["left red ball", "right blue ball"]


@pytest.mark.parametrize("present", [(), ("sky", "oak")])
def test_without_a_present_twin_only_absent_names_of_one_thing_are_asked(present):
    dialogue = TwinNames(9)(asked(*present), np.random.default_rng(0))
    assert not dialogue.entries and len(dialogue.query) == 9
    assert len({name.split()[-1] for name in dialogue.query}) == 1


def test_a_data_set_without_twins_and_a_limit_without_room_are_refused():
    with pytest.raises(ConfigError, match="no two of the 2 names of 'made' differ in one word before the last"):
        TwinNames().for_manifest(Manifest("made", ("red ball", "red kite")))
    with pytest.raises(ValueError, match="`limit` must be at least 2, got 1"):
        TwinNames(1)


def test_only_the_given_names_are_asked_and_other_lists_stay():
    strategy = OnlyNames(["Oak", "sea", "sky"]).for_manifest(Manifest("made", LONG_NAMES))
    dialogue = strategy(asked("sky", "left red ball"), np.random.default_rng(0))
    assert dialogue.query == ("sky", "sea", "oak") and [entry.name for entry in dialogue.entries] == ["sky"]
    other = asked(names=("cup", "plate"))
    assert strategy(other, np.random.default_rng(0)) is other
    with pytest.raises(ConfigError, match=r"`names` are no categories of 'made': \['cup'\]"):
        OnlyNames(["cup", "oak"]).for_manifest(Manifest("made", LONG_NAMES))
    with pytest.raises(ValueError, match="`names` is empty"):
        OnlyNames([])
