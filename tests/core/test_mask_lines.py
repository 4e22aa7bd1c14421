"""Masks as lines of pixels have the pixels of the masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.mask_lines import MaskLines, cut_mask, join_lines, place_mask
from lasagna.core.masks import RLEMask
from lasagna.core.tiles import Tiles


def blot(seed, size, share):
    return np.random.default_rng(seed).random(size) < share


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.sampled_from([0, 0.3, 0.9, 1]))
def test_masks_are_cut_placed_and_joined_as_arrays_are(seed, size, share):
    pixels = blot(seed, size, share)
    mask = RLEMask.from_array(pixels)
    assert MaskLines.of(mask).mask(size) == mask
    assert MaskLines.of(mask).area == pixels.sum()
    for tile in Tiles(4, 1).of(size):
        cut = cut_mask(mask, tile)
        assert cut == RLEMask.from_array(pixels[tile.slices])
        placed = np.zeros(size, bool)
        placed[tile.slices] = pixels[tile.slices]
        assert place_mask(cut, tile, size) == RLEMask.from_array(placed)
    other = blot(seed + 1, size, 0.5)
    padded = np.pad(pixels, [(0, -side % 3) for side in size])
    squares = padded.reshape(padded.shape[0] // 3, 3, padded.shape[1] // 3, 3).any((1, 3))
    assert MaskLines.of(mask).shrunk(3).mask(squares.shape) == RLEMask.from_array(squares)
    parts = [MaskLines.of(mask), MaskLines.of(RLEMask.from_array(other))]
    assert join_lines(parts, size) == RLEMask.from_array(pixels | other)


def test_a_join_of_nothing_is_empty():
    assert join_lines([], (3, 4)) == RLEMask.from_array(np.zeros((3, 4), bool))


@pytest.mark.parametrize("value", [True, False])
def test_a_large_mask_costs_its_lines_and_not_its_pixels(value):
    whole = RLEMask.from_array(np.full((2, 3), value))
    tile = Tiles(2, 0).of((2, 3))[0]
    big = place_mask(whole, tile, (60_000, 60_000))
    assert MaskLines.of(big).area == 6 * value
