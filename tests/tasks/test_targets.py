"""Masks of a label map are visible by its values if they are by its pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.masks import LabelMap, RLEMask, UnionMask
from lasagna.tasks.targets import are_visible, is_visible

VALUES = st.lists(st.integers(0, 4), max_size=3, unique=True)


@given(st.integers(0, 999), st.lists(VALUES, min_size=1, max_size=4), st.none() | VALUES)
def test_values_agree_with_pixels(seed, listed, void):
    labels = LabelMap(np.random.default_rng(seed).integers(0, 4, (1, 3), dtype=np.uint8))
    masks = {str(rank): labels.mask(values) for rank, values in enumerate(listed)}
    masks["free"] = RLEMask.from_array(labels.pixels == 1)
    masks["both"] = UnionMask((masks["0"], masks["free"]), shape=labels.size)
    same = None if void is None else labels.mask(void)
    for ignore in (same, None if same is None else RLEMask.from_array(same.decode())):
        decoded = None if ignore is None else ignore.decode()
        assert are_visible(masks, ignore) == {name: is_visible(mask, decoded) for name, mask in masks.items()}
