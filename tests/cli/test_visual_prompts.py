"""Points, boxes and masks of ``lasagna predict``."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.cli.predict import read_queries
from lasagna.cli.visual_prompts import read_mask, with_pointing
from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_json import answer_json
from lasagna.errors import LasagnaError

MASK = np.zeros((6, 8), bool)
MASK[2:4, 3:7] = True


@pytest.fixture
def earlier(tmp_path):
    """What the command wrote before, and the same mask as a picture."""
    [query] = read_queries("dog, sun")
    answer = Answer("", (AnsweredEntry("dog", True, 0.9, MASK, 0.8), AnsweredEntry("sun", False, 0.1)))
    (tmp_path / "scene.json").write_text(json.dumps({"answers": [answer_json(query, answer)]}), encoding="utf-8")
    Image.fromarray(255 * MASK.astype(np.uint8)).save(tmp_path / "dog.png")
    return tmp_path


def test_one_query_takes_what_is_pointed_at(earlier):
    queries = read_queries(refer="dog")
    points, boxes = [[3.0, 2.0], [1.0, 5.0, "negative"]], [(1.0, 1.0, 4.0, 3.0)]
    for file in ("scene.json", "dog.png"):
        [query] = with_pointing(queries, Path("scene.png"), points, boxes, earlier / file)
        assert (query.kind, query.names) == ("referring", ("dog",))
        assert query.visual.points == ((3.0, 2.0, "positive"), (1.0, 5.0, "negative"))
        assert list(query.visual.boxes) == boxes
        mask = query.visual.mask
        assert np.array_equal(mask if file == "dog.png" else mask.decode(), MASK)
    assert with_pointing(queries, Path("scene.png"), None, None, None) is queries


@pytest.mark.parametrize("asked", [{"query": "dog, sun"}, {"refer": "dog", "ask": "why"}])
def test_points_are_for_one_thing_in_one_image(asked, tmp_path):
    for image, queries in ((Path("scene.png"), read_queries(**asked)), (tmp_path, read_queries(refer="dog"))):
        with pytest.raises(LasagnaError, match="for one thing in one image; give one image file, and one query with"):
            with_pointing(queries, image, [[1.0, 2.0]], None, None)


def test_of_several_masks_of_a_name_one_is_chosen(earlier):
    [query] = read_queries("dog")
    masks = [MASK, ~MASK]
    entries = [AnsweredEntry("dog", True, 0.9, mask, 0.8, span=(rank, rank + 1)) for rank, mask in enumerate(masks)]
    (earlier / "scene.json").write_text(json.dumps({"answers": [answer_json(query, Answer("", tuple(entries)))]}))
    for rank, mask in enumerate(masks):
        assert np.array_equal(read_mask(earlier / f"scene.json#{rank}", "dog").decode(), mask)
    for file in ("scene.json", "scene.json#2"):
        with pytest.raises(LasagnaError, match=r"2 masks of 'dog'; give \S*scene.json#0 to \S*scene.json#1"):
            read_mask(earlier / file, "dog")


def test_of_several_objects_of_a_name_one_is_chosen(earlier):
    [query] = read_queries(own={"instances": "dog"})
    entry = AnsweredEntry("dog", True, 0.9, masks=(MASK, ~MASK), scores=(0.8, 0.7))
    (earlier / "scene.json").write_text(json.dumps({"answers": [answer_json(query, Answer("", (entry,)))]}))
    assert np.array_equal(read_mask(earlier / "scene.json#1", "dog").decode(), ~MASK)
    with pytest.raises(LasagnaError, match=r"2 masks of 'dog'; give \S*scene.json#0"):
        read_mask(earlier / "scene.json", "dog")


def test_masks_that_are_not_there_are_named(earlier):
    (earlier / "list.json").write_text("[]", encoding="utf-8")
    for file, name, message in (
        ("scene.json", "sun", "has no mask of 'sun'; it has masks of 'dog'"),
        ("none.png", "dog", "cannot be read"),
        ("list.json", "dog", "cannot be read"),
    ):
        with pytest.raises(LasagnaError, match=message):
            read_mask(earlier / file, name)
