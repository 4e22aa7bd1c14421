"""The pictures: determinism, exact maps, variety."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.datamodules.scenes import CATEGORIES, COLOURED, COLOURS, THINGS, VOID, Scene, draw_scene, least_visible

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, size: int = 96) -> Scene:
    return draw_scene(np.random.default_rng(seed), size)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_same_seed_gives_same_bytes(seed: int) -> None:
    first, second = draw(seed), draw(seed)
    for name in ("image", "labels", "instances"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert (first.things, first.light) == (second.things, second.light)


def test_other_seeds_give_other_pictures(scenes: list[Scene]) -> None:
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)


def test_global_random_state_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()
    draw(0)
    assert np.array_equal(before, np.random.get_state()[1])


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from((48, 96, 128)))
def test_maps_agree_with_things(seed: int, size: int) -> None:
    scene = draw(seed, size)
    assert scene.image.shape == (size, size, 3)
    assert {a.dtype.name for a in (scene.image, scene.labels, scene.instances)} == {"uint8"}
    assert 1 <= len(scene.things) <= 5
    assert set(np.unique(scene.instances)) - {0} == set(range(1, len(scene.things) + 1))
    for k, thing in enumerate(scene.things):
        mask = scene.instances == k + 1
        rows, cols = np.where(mask)
        assert set(scene.labels[mask]) == {CATEGORIES.index(thing.name)}
        assert thing.area == mask.sum() >= least_visible(size)
        assert thing.box == (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
        assert thing.centre == pytest.approx((rows.mean(), cols.mean()))
        assert (thing.colour in COLOURS) == (thing.name in COLOURED)


def test_stuff_covers_the_rest(scenes: list[Scene]) -> None:
    for scene in scenes:
        things = [CATEGORIES.index(name) for name in THINGS]
        assert not np.isin(scene.labels[scene.instances == 0], things).any()
        counts = np.bincount(scene.labels.ravel(), minlength=256)
        assert all(counts[CATEGORIES.index(name)] >= least_visible(96) for name in scene.present)
        assert set(np.unique(scene.labels)) <= {*range(len(CATEGORIES)), VOID}


def test_little_is_void(scenes: list[Scene]) -> None:
    assert np.mean([(scene.labels == VOID).mean() for scene in scenes]) < 0.002


def test_all_categories_colours_and_lights_occur(scenes: list[Scene]) -> None:
    seen = Counter(name for scene in scenes[:300] for name in scene.present)
    assert set(seen) == set(CATEGORIES)
    assert min(seen.values()) >= 12
    painted = Counter(t.colour for scene in scenes[:300] for t in scene.things)
    assert set(painted) == {*COLOURS, None}
    assert {scene.light for scene in scenes} == {"day", "dusk", "night"}


def test_duplicates_are_frequent_and_limited(scenes: list[Scene]) -> None:
    most = [max(Counter(t.name for t in scene.things).values()) for scene in scenes]
    assert set(most) == {1, 2, 3, 4}
    assert np.mean([n > 1 for n in most]) > 0.35


def test_sun_and_moon_keep_their_hours(scenes: list[Scene]) -> None:
    assert not any("sun" in scene.present for scene in scenes if scene.light == "night")
    assert not any("moon" in scene.present for scene in scenes if scene.light == "day")


def test_masks_by_thing_and_by_category() -> None:
    scene = next(s for s in map(draw, range(50)) if len(s.things) > 1)
    assert not scene.mask([]).any()
    everything = scene.mask(range(len(scene.things)))
    assert np.array_equal(everything, scene.instances > 0)
    assert np.array_equal(everything, scene.category_mask(THINGS))
