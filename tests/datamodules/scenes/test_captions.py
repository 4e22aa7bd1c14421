"""Captions name every thing once, in the place where it is, with words that the tiny language model knows."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.datamodules.scenes import STUFF, caption, draw_scene
from lasagna.datamodules.scenes.captions import GROUND, place_of
from lasagna.modules.tiny.weights import packaged_words


@pytest.fixture(scope="module")
def few():
    return [draw_scene(np.random.default_rng(seed)) for seed in range(40)]


def test_each_thing_has_a_phrase_of_its_own_and_stuff_its_pixels(few):
    for scene in few:
        made = caption(scene)
        named = [(made.text[slice(*span)], masks) for span, masks in made.phrases]
        assert set(made.text.split()) <= set(packaged_words())
        things = [mask for words, masks in named if words not in STUFF for mask in masks]
        assert len(things) == len(scene.things)
        seen = sorted(tuple(np.unique(scene.instances[mask])) for mask in things)
        assert seen == [(number,) for number in range(1, len(things) + 1)]
        for words, masks in named:
            if words in STUFF:
                assert np.array_equal(masks[0], scene.category_mask([words]))
            elif len(masks) > 1:
                assert words.split()[0] in ("two", "three", "four") and words.endswith("s")


def test_phrases_stand_from_left_to_right_with_their_places(few):
    scene = next(scene for scene in few if len(scene.things) == 2 and len({t.name for t in scene.things}) == 2)
    first, second = sorted(scene.things, key=lambda thing: thing.centre[1])
    text = caption(scene).text
    assert text.index(first.name) < text.index(second.name)
    for number, thing in enumerate(scene.things):
        place = place_of(scene, number)
        assert place is None or f" {place}" in text[text.index(thing.name) :]
        assert place in (None, "sky", *GROUND)
