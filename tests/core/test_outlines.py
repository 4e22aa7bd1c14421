"""Outlines of masks: COCO's tools turn them back into the same pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lasagna.core.masks import RLEMask
from lasagna.core.outlines import polygons_of


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans()))
def test_coco_reads_the_same_pixels_back(mask):
    polygons = polygons_of(mask)
    assert bool(polygons) == bool(mask.any())
    if polygons:
        assert np.array_equal(RLEMask.from_json(polygons, mask.shape).decode(), mask)


def test_straight_edges_have_no_points_within_and_holes_are_kept():
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:35, 10:50] = True
    assert [len(polygon) for polygon in polygons_of(mask)] == [2 * 9]
    mask[10:20, 20:30] = mask[25:30, 40:45] = False
    [polygon] = polygons_of(mask)
    assert np.array_equal(RLEMask.from_json([polygon], mask.shape).decode(), mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
def test_masks_that_fill_the_image(shape):
    mask = np.ones(shape, dtype=bool)
    assert np.array_equal(RLEMask.from_json(polygons_of(mask), shape).decode(), mask)
