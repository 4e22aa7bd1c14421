"""Large pictures are answered tile by tile."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.core.batch import Query
from lasagna.core.query_kind import CATEGORY_LIST, INSTANCES, QUESTION, REFERRING
from lasagna.core.tiles import Tiles
from lasagna.core.visual_prompt import VisualPrompt
from lasagna.errors import QueryError, RecordError
from lasagna.modules.decoding.tiles import answer_tiles
from tests.helpers.assistants import random_assistant

NAMES = ("sun", "dog", "sea")
QUERIES = [Query(0, CATEGORY_LIST, NAMES), Query(0, REFERRING, ("the red ball",))]


@pytest.fixture(scope="module")
def assistant():
    made = random_assistant()
    made.presence_threshold = 0.4
    return made


def picture(size=(50, 70)):
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def test_one_tile_is_answered_as_the_picture_is(assistant):
    plain = assistant.answers(picture(), QUERIES)
    tiled = assistant.answers(picture(), QUERIES, tiles=Tiles(80, 10))
    for one, other in zip(plain, tiled, strict=True):
        assert np.array_equal(one.label_map(size=(50, 70)), other.label_map())
        for entry, joined in zip(one.entries, other.entries, strict=True):
            assert (entry.name, entry.present, entry.score) == (joined.name, joined.present, joined.score)
            assert entry.confidence == pytest.approx(joined.confidence)
            assert (entry.mask is None and joined.mask is None) or np.array_equal(entry.mask, joined.mask)
            assert repr(entry) == repr(joined)


def test_tiles_are_answered_as_pictures_of_their_own_and_in_any_batch(assistant):
    image, tiles = picture(), Tiles(32, 8)
    answer = assistant.answer(image, NAMES, tiles=tiles)
    places = tiles.of(image.shape[:2])
    alone = [assistant.answer(image[tile.slices], NAMES) for tile in places]
    for rank, entry in enumerate(answer.entries):
        assert entry.tile_scores == pytest.approx([one.entries[rank].score for one in alone], abs=1e-5)
        assert list(entry.present_tiles) == [place for place, one in enumerate(alone) if one.entries[rank].present]
        assert entry.present == bool(entry.present_tiles)
    together = answer_tiles(assistant, image, QUERIES, Tiles(32, 8, batch=4))[0]
    assert [entry.present_tiles for entry in together.entries] == [entry.present_tiles for entry in answer.entries]
    assert np.array_equal(together.label_map(), answer.label_map())


def test_objects_of_tiles_are_joined(assistant):
    answer = answer_tiles(assistant, picture(), [Query(0, INSTANCES, NAMES)], Tiles(32, 8))[0]
    for entry in answer.entries:
        assert entry.present == (entry.mask is not None)
        assert len(entry.masks) == len(entry.scores)


def test_what_cannot_be_joined_is_refused_before_anything_is_answered(assistant):
    image, tiles = picture(), Tiles(32, 8)
    with pytest.raises(QueryError, match="tiles: the words of answers to a query of kind question cannot be joined"):
        assistant.answer(image, ["what is it"], QUESTION, tiles=tiles)
    with pytest.raises(QueryError, match="tiles: points, boxes and masks are for one place"):
        assistant.answer(image, ["a dog"], REFERRING, visual=VisualPrompt([(3, 4)]), tiles=tiles)
    with pytest.raises(QueryError, match="tiles: only one image is divided"):
        assistant.answer([image, image], NAMES, tiles=tiles)
    with pytest.raises(QueryError, match="probabilities: they are not joined over tiles"):
        assistant.answer(image, NAMES, probabilities=True, tiles=tiles)
    with pytest.raises(RecordError, match="image"):
        assistant.answer(image[..., 0], NAMES, tiles=tiles)
