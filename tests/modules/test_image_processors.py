"""Resized photographs have Pillow's pixels, whoever resizes them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lasagna.modules.image_processors import SamImageProcessor, resize_bilinear


def pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize("flat", [False, True])
@given(
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.tuples(st.integers(1, 64), st.integers(1, 64)) | st.sampled_from([(32, 32), (64, 64), (64, 16), (128, 64)]),
    st.integers(0, 99),
)
def test_pixels_are_those_of_pillow(flat, size, resized, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = np.where(image > 127, 255, 0).astype(np.uint8) if flat else image
    assert np.array_equal(resize_bilinear(image, resized), pillow(image, resized))


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (427, 640), (512, 512), (600, 1023), (1200, 1600)])
def test_photographs_for_sam_are_those_of_pillow(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    resized = SamImageProcessor().geometry(size).resized
    assert np.array_equal(resize_bilinear(image, resized), pillow(image, resized))


def test_views_and_read_only_arrays_are_taken():
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    image.setflags(write=False)
    for view in (image, image[:, ::-1], image[::2]):
        assert np.array_equal(resize_bilinear(view, (32, 32)), pillow(np.ascontiguousarray(view), (32, 32)))
