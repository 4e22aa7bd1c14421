"""Masks in layers are the masks that were put there, however they overlap and wherever they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import Geometry, fit_mask
from lasagna.core.masks import LabelMap, RLEMask, UnionMask
from lasagna.core.packed_masks import PackedMasks, mask_targets
from lasagna.datamodules.streaming.mask_stack import FULL, MaskStack, stack_masks
from lasagna.datamodules.streaming.preparation import PreparedSample, Row

SIZE = (6, 7)
GEOMETRIES = [Geometry(SIZE, SIZE, SIZE), Geometry(SIZE, (12, 14), (14, 14)), Geometry(SIZE, (3, 4), (5, 4))]


def row_of(masks, ignore=None, counted=None):
    entries = tuple(Entry(str(rank), True, mask) for rank, mask in enumerate(masks))
    dialogue = Dialogue("categories", tuple(entry.name for entry in entries), entries, ignore=ignore)
    return Row(dialogue, [], [], list(range(len(masks) if counted is None else counted)))


def stacked(rows, geometry) -> PackedMasks:
    return stack_masks(PreparedSample("s", "k", torch.zeros(3, *geometry.padded), geometry, tuple(rows)))


def plain(rows, geometry):
    targets = []
    for row in rows:
        for entry in row.dialogue.entries[: len(row.mask_positions)]:
            ignored = None if row.dialogue.ignore is None else row.dialogue.ignore.decode()
            targets.append(fit_mask(entry.mask.decode(), geometry, ignored))
    return torch.stack(targets)


def some_masks(seed, kind=np.uint8):
    """Masks of a label map, alone and several values together, overlapping ones, an empty one, and unions."""
    rng = np.random.default_rng(seed)
    labels = LabelMap(rng.integers(0, 4, SIZE).astype(kind))
    free = [RLEMask.from_array(rng.random(SIZE) < share) for share in (0.1, 0.2, 0.7, 0)]
    both = UnionMask((labels.mask([0]), free[0]), shape=SIZE)
    return [labels.mask([1]), *free, labels.mask([3]), both, labels.mask([1, 2]), labels.mask([0]), labels.mask([257])]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@given(seed=st.integers(0, 10**6), void=st.sampled_from([None, 2, 5]))
def test_targets_are_those_of_each_mask_alone(kind, geometry, seed, void):
    masks = some_masks(seed, kind)
    ignore = None if void is None else masks[void]
    rows = [row_of(masks, ignore), row_of(masks[3:1:-1]), row_of(masks[:1], masks[5])]
    assert torch.equal(mask_targets([stacked(rows, geometry)]), plain(rows, geometry))


def test_all_masks_of_a_label_map_share_one_layer_and_so_do_masks_that_do_not_overlap():
    labels = LabelMap(np.arange(42, dtype=np.uint8).reshape(SIZE))
    assert stacked([row_of([labels.mask([value]) for value in range(40)])], GEOMETRIES[0]).layers.shape == (1, *SIZE)
    apart = [RLEMask.from_array(labels.pixels == value) for value in range(40)]
    assert stacked([row_of(apart)], GEOMETRIES[0]).layers.shape == (1, *SIZE)


def test_a_layer_that_has_no_number_left_is_followed_by_another():
    stack = MaskStack((20, 20))
    masks = [RLEMask.from_array(np.arange(400).reshape(20, 20) == place) for place in range(300)]
    places = [stack.place(mask) for mask in masks]
    layers = stack.layers()
    assert layers.shape[0] == 2 and max(value for _, value in places) == FULL
    for mask, (layer, value) in zip(masks, places, strict=True):
        assert np.array_equal(layers[layer] == value, mask.decode())


def test_masks_without_a_pixel_are_counted():
    empty, full = (RLEMask.from_array(np.full(SIZE, value)) for value in (False, True))
    assert stacked([row_of([empty, full]), row_of([empty])], GEOMETRIES[0]).empty == 2
    assert stacked([row_of([full])], GEOMETRIES[0]).empty == 0


def test_masks_of_a_question_answered_in_words_are_not_learnt():
    masks = some_masks(0)
    assert mask_targets([stacked([row_of(masks, counted=0)], GEOMETRIES[0])]).shape == (0, *SIZE)


@pytest.mark.parametrize("void", [False, True])
def test_a_thing_smaller_than_a_pixel_of_the_input_is_learned_as_the_pixel_that_shows_it(void):
    """Things of 3 x 3 pixels at 96 of 480 x 352 pixels, of which resizing meets a part; some have a border of void."""
    geometry = Geometry((352, 480), (70, 96), (96, 96))
    pixels = np.zeros((352, 480), np.uint8)
    corners = [(row, column) for row in range(0, 340, 31) for column in range(0, 470, 47)]
    for value, (row, column) in enumerate(corners, start=1):
        pixels[row : row + 5, column : column + 5] = 255
        pixels[row + 1 : row + 4, column + 1 : column + 4] = value
    labels = LabelMap(pixels)
    row = row_of([labels.mask([value]) for value in range(1, len(corners) + 1)], labels.mask([255]) if void else None)
    masks = stacked([row], geometry)
    assert masks.small > len(corners) / 2
    targets = mask_targets([masks])
    assert torch.equal(targets, plain([row], geometry))
    assert ((targets == 1).sum((1, 2)) >= 1).all()
    for target, (top, left) in zip(targets, corners, strict=True):
        for y, x in (target == 1).nonzero().tolist():
            assert top < (y + 1) * 352 / 70 and y * 352 / 70 < top + 5
            assert left < (x + 1) * 5 and x * 5 < left + 5


def test_a_thing_that_the_input_does_not_show_stays_without_a_pixel():
    pixels = np.zeros(SIZE, np.uint8)
    pixels[0, 0] = 1
    geometry = Geometry(SIZE, (2, 2), (2, 2), seen=(0, 2, 5, 5))
    masks = stacked([row_of([LabelMap(pixels).mask([1])])], geometry)
    assert masks.small == 0
    assert not mask_targets([masks]).any()
