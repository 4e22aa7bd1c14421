"""Answers about the tiles of a picture, joined: a perfect answer in each tile is a perfect answer about the picture."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_json import answer_json, coco_results
from lasagna.core.batch import Query
from lasagna.core.masks import RLEMask
from lasagna.core.overlaps import OverlapMap
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.core.tile_joining import TileJoiner
from lasagna.core.tiles import Tiles
from lasagna.tasks.evaluation.predictions import from_json, to_json

SIZE = (40, 60)
TILES = Tiles(16, 6)


def rectangle(top, left, height, width):
    pixels = np.zeros(SIZE, bool)
    pixels[top : top + height, left : left + width] = True
    return pixels


LAKE, BARGE, FERRY = rectangle(3, 5, 30, 41), rectangle(8, 8, 4, 30), rectangle(20, 20, 3, 3)


def joined(answer_of, names=("lake", "ship", "whale"), **options):
    joiner = TileJoiner(names, SIZE, TILES, **options)
    for rank, tile in enumerate(TILES.of(SIZE)):
        joiner.add(rank, answer_of(rank, tile))
    return joiner.answer()


def entry(name, pixels, objects=(), score=0.9):
    if not pixels.any():
        return AnsweredEntry(name, False, 0.1)
    masks = tuple(one for one in objects if one.any())
    return AnsweredEntry(name, True, score, pixels, 0.8, masks=masks, scores=(0.7,) * len(masks))


def perfect(rank, tile):
    lake, ships = LAKE[tile.slices], [ship[tile.slices] for ship in (BARGE, FERRY)]
    entries = (entry("lake", lake), entry("ship", np.any(ships, axis=0), ships), AnsweredEntry("whale", False, 0.2))
    top = OverlapMap(tile.size)
    for place, (one, priority) in enumerate(zip(entries, (1, 2, 3), strict=True)):
        if one.mask is not None:
            top.add_whole(place, one.mask, priority)
    return Answer("", entries, top=top)


def test_perfect_answers_about_tiles_are_a_perfect_answer():
    answer = joined(perfect, apart=True)
    lake, ship, whale = answer.entries
    assert np.array_equal(lake.mask, LAKE)
    assert np.array_equal(ship.mask, BARGE | FERRY)
    assert (whale.present, whale.mask, whale.box, whale.score) == (False, None, None, 0.2)
    assert [mask.tolist() for mask in ship.masks] == [BARGE.tolist(), FERRY.tolist()]
    assert ship.scores == (0.7, 0.7)
    assert (lake.box, lake.confidence) == ((5, 3, 41, 30), pytest.approx(0.8))
    seen = [rank for rank, tile in enumerate(TILES.of(SIZE)) if LAKE[tile.slices].any()]
    assert list(lake.present_tiles) == seen
    assert answer.text.startswith(f"lake: in {len(seen)} of 24 tiles, ship: ")


def test_labels_show_what_lies_on_top():
    expected = np.where(BARGE | FERRY, 1, np.where(LAKE, 0, -1))
    answer = joined(perfect)
    assert np.array_equal(answer.label_map(), expected)
    assert np.array_equal(answer.overlap_map().ranks(), expected)


def test_an_answer_is_stored_as_run_lengths_and_read_back():
    answer = joined(perfect, apart=True)
    stored = from_json(to_json(answer), SIZE)
    assert np.array_equal(stored.label_map(), answer.label_map())
    assert [np.array_equal(one, other) for one, other in zip(stored.entries[1].masks, (BARGE, FERRY), strict=True)]
    plain = answer_json(Query(0, CATEGORY_LIST, ("lake", "ship", "whale")), answer)
    assert plain["tiles"][1] == [0, 10, 16, 16]
    lake, ship, whale = plain["entries"]
    assert lake["mask"] == RLEMask.from_array(LAKE).to_json()
    assert [RLEMask.from_json(one["mask"], SIZE).any() for one in ship["objects"]] == [True, True]
    assert (whale["tiles"], len(whale["tile_scores"])) == ([], 24)
    assert len(coco_results(answer, 1, {"lake": 1, "ship": 2})) == 3


def test_a_pixel_comes_from_the_tile_in_whose_core_it_lies():
    """Noise at the borders of tiles, where they overlap, is not seen."""

    def noisy(rank, tile):
        pixels = np.zeros(tile.size, bool)
        pixels[:, 0] = pixels[:, -1] = True
        pixels[8, 8] = True
        return Answer("", (entry("lake", pixels),))

    mask = joined(noisy, ("lake",)).entries[0].mask
    assert mask[:, 0].all()
    assert mask[:, -1].all()
    assert mask[:, 1:-1].sum() == len(TILES.of(SIZE))


def test_a_tile_that_calls_a_name_absent_does_not_erase_what_others_see():
    def half_blind(rank, tile):
        return Answer("", (entry("lake", LAKE[tile.slices] & (rank % 2 == 0)),))

    answer = joined(half_blind, ("lake",))
    expected = np.zeros(SIZE, bool)
    for rank, tile in enumerate(TILES.of(SIZE)):
        expected[tile.slices] |= LAKE[tile.slices] & (rank % 2 == 0)
    assert np.array_equal(answer.entries[0].mask, expected)
    assert all(rank % 2 == 0 for rank in answer.entries[0].present_tiles)


def test_names_without_a_pixel_stay_or_become_absent():
    def empty(rank, tile):
        return Answer("", (AnsweredEntry("lake", True, 0.6, np.zeros(tile.size, bool)),), ("unknown name",))

    kept, dropped = joined(empty, ("lake",)), joined(empty, ("lake",), keep_empty=False)
    assert (kept.entries[0].present, kept.entries[0].empty, kept.faults) == (True, True, ("unknown name",))
    assert (dropped.entries[0].present, dropped.entries[0].score) == (False, 0.6)
    assert kept.label_map().max() == -1
