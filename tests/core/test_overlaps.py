"""Overlapping masks settled pixel by pixel, against a stack of all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.overlaps import OverlapMap

SIZE = (7, 9)


def random_masks(rng, count):
    """Masks in boxes of their own, some without a pixel, with few different probabilities, so that some are equal."""
    masks = np.zeros((count, *SIZE), dtype=bool)
    for mask in masks:
        top, left, bottom, right = rng.integers(0, (*SIZE, *SIZE))
        mask[top:bottom, left:right] = rng.random(SIZE)[top:bottom, left:right] < 0.7
    return masks, rng.integers(0, 4, (count, *SIZE)) / 4


def stacked(masks, probabilities):
    return np.where(masks.any(0), np.where(masks, probabilities, -1).argmax(0), -1) if len(masks) else np.full(SIZE, -1)


def settled(masks, probabilities, order):
    top = OverlapMap(SIZE)
    for rank in order:
        top.add(int(rank), masks[rank], probabilities[rank])
    return top


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 6), st.sampled_from([np.float16, np.float32, np.float64]))
def test_equals_the_largest_of_a_stack_in_any_order(seed, count, dtype):
    rng = np.random.default_rng(seed)
    masks, probabilities = random_masks(rng, count)
    top = settled(masks, probabilities.astype(dtype), rng.permutation(count))
    assert (top.ranks() == stacked(masks, probabilities)).all()
    labels = top.labels(np.array([*range(10, 10 + count), 99], dtype=np.int32))
    assert (labels == np.where(top.ranks() < 0, 99, top.ranks() + 10)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 4), st.integers(0, 4))
def test_parts_join_to_the_whole(seed, first, second):
    masks, probabilities = random_masks(np.random.default_rng(seed), first + second)
    parts = [settled(masks[:first], probabilities[:first], range(first))]
    parts += [settled(masks[first:], probabilities[first:], range(second))]
    assert (parts[0].joined(parts[1], first).ranks() == stacked(masks, probabilities)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_evidence_may_be_negative_and_ranks_may_change_later(seed, count):
    rng = np.random.default_rng(seed)
    masks, evidence = random_masks(rng, count)[0], rng.normal(scale=30, size=(count, *SIZE)).astype(np.float32)
    expected = np.where(masks.any(0), np.where(masks, evidence, -np.inf).argmax(0), -1)
    top = settled(masks, evidence, rng.permutation(count))
    assert (top.ranks() == expected).all()
    ranks = rng.permutation(count)
    assert (top.renumbered(ranks).ranks() == np.where(expected < 0, -1, ranks[expected])).all()


def test_one_number_stands_for_all_pixels():
    whole, part = np.ones(SIZE, dtype=bool), np.zeros(SIZE, dtype=bool)
    part[2:4, 3:5] = True
    for add, behind, front in (("add", 0.3, 0.4), ("add_whole", 3, 4)):
        top = OverlapMap(SIZE)
        getattr(top, add)(0, whole, behind)
        getattr(top, add)(1, part, front)
        assert (top.ranks() == part).all()


@pytest.mark.parametrize("probability", [0.0, np.zeros(SIZE, dtype=np.float16)])
def test_a_mask_without_any_probability_is_still_a_mask(probability):
    top = OverlapMap(SIZE)
    top.add(0, np.ones(SIZE, dtype=bool), probability)
    assert (top.ranks() == 0).all()


def test_large_maps_are_compared_in_parts(monkeypatch):
    monkeypatch.setattr("lasagna.core.overlaps._AT_ONCE", 20)
    masks, probabilities = random_masks(np.random.default_rng(3), 6)
    assert (settled(masks, probabilities, range(6)).ranks() == stacked(masks, probabilities)).all()
    labels = settled(masks, probabilities, range(6)).labels(np.array([*range(6), 9], dtype=np.int32))
    assert (labels == np.where(masks.any(0), stacked(masks, probabilities), 9)).all()
    top = OverlapMap(SIZE)
    for rank, mask in enumerate(masks):
        top.add_whole(rank, mask, 5 - rank)
    assert (top.ranks() == np.where(masks.any(0), masks.argmax(0), -1)).all()
