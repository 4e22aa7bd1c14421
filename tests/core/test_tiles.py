"""Where tiles lie, and masks that are cut, moved and joined as lines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.tiles import Tile, Tiles
from lasagna.errors import ConfigError

SIDES = st.integers(1, 40)


@settings(max_examples=25, deadline=None)
@given(st.tuples(SIDES, SIDES), st.integers(1, 20), st.data())
def test_tiles_cover_the_picture_and_their_cores_cover_it_once(size, side, data):
    overlap = data.draw(st.integers(0, side - 1))
    tiles = Tiles(side, overlap)
    seen, decided = np.zeros(size, int), np.zeros(size, int)
    for tile, core in zip(tiles.of(size), tiles.cores(size), strict=True):
        assert tile.size == (min(side, size[0]), min(side, size[1]))
        assert seen[tile.slices].shape == tile.size
        assert core.common(tile) == core
        seen[tile.slices] += 1
        decided[core.slices] += 1
    assert seen.min() >= 1
    assert (decided == 1).all()


def test_neighbours_overlap_and_the_last_tile_ends_at_the_border():
    found = Tiles(512, 64).of((512, 1100))
    assert found == [Tile(0, 0, 512, 512), Tile(0, 448, 512, 512), Tile(0, 588, 512, 512)]
    assert [core.left for core in Tiles(512, 64).cores((512, 1100))] == [0, 480, 774]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 64, "overlap": 64}, r"overlap: expected 0 to 63, .* got 64; give a smaller overlap or larger tiles"),
        ({"size": 64, "overlap": -1}, "overlap: expected 0 to 63"),
        ({"size": 0, "overlap": 0}, "tiles: a tile has at least 1 pixel a side, got 0"),
        ({"size": 64, "overlap": 0, "batch": 0}, "batch: expected at least 1 tile"),
    ],
)
def test_impossible_tiles_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Tiles(**options)
