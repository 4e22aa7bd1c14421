"""A twin of a scene differs from it in one thing, and its masks are exact."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from lasagna.core.seeding import generator
from lasagna.datamodules.scenes import THINGS
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.twins import DrawnTwins
from lasagna.datamodules.scenes.writer import scene_record


@pytest.mark.parametrize("long_names", [False, True])
def test_one_thing_is_exchanged_and_all_else_stays(long_names):
    settings = SceneSettings(3, "test", 12, size=64, long_names=long_names)
    twins, found = DrawnTwins.of_settings(settings.stored()), 0
    for index in range(12):
        record = scene_record(settings, index)
        twin = twins(record, generator(0, 0, str(index)))
        again = twins(record, generator(0, 0, str(index)))
        if twin is None:
            assert again is None
            continue
        found += 1
        assert again.record.image_bytes == twin.record.image_bytes and again.other == twin.other
        assert twin.record.key == record.key and not twin.record.phrases
        before, after = record.category_masks(), twin.record.category_masks()
        assert twin.name in before and twin.name not in after
        assert twin.other in after and twin.other not in before
        assert {twin.name.split()[-1], twin.other.split()[-1]} <= set(THINGS)
        assert before.keys() - after.keys() - {twin.name} == after.keys() - before.keys() - {twin.other} == set()
        changed = (record.image() != twin.record.image()).any(-1)
        # pixels are means of four of the drawing, so that edges reach one pixel further than masks
        thing = binary_dilation(before[twin.name].decode() | after[twin.other].decode(), np.ones((3, 3)))
        assert changed.any() and not (changed & ~thing).any(), "pixels elsewhere are the same"
        for name in before.keys() & after.keys():
            assert not ((before[name].decode() != after[name].decode()) & ~thing).any()
        assert all(len(region.masks) == len(record.objects()[name].masks)
                   for name, region in twin.record.objects().items() if name != twin.other)  # fmt: skip
    assert found > 6


def test_only_scenes_that_can_be_drawn_again_have_twins():
    settings = SceneSettings(3, "test", 1, size=64)
    assert DrawnTwins.of_settings({**settings.stored(), "version": 0}) is None
    assert DrawnTwins.of_settings({"records_per_shard": 8}) is None
    other = scene_record(SceneSettings(3, "val", 1, size=64), 0)
    assert DrawnTwins(settings)(other, np.random.default_rng(0)) is None
