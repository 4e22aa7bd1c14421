import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco

from lasagna.core.masks import LabelMap, RLEMask, UnionMask
from lasagna.errors import RecordError

bool_masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17))


def runs_of(pixels):
    """Plain uncompressed run lengths, down the columns, zeros first."""
    runs, value = [0], False
    for pixel in pixels.T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(bool_masks)
def test_rle_round_trip(pixels):
    mask = RLEMask.from_array(pixels)
    assert mask.size == pixels.shape
    assert mask.decode().dtype == bool
    assert np.array_equal(mask.decode(), pixels)
    assert RLEMask.from_json(mask.to_json(), pixels.shape) == mask


@given(bool_masks)
def test_uncompressed_runs_are_the_same_mask(pixels):
    code = {"size": list(pixels.shape), "counts": runs_of(pixels)}
    assert RLEMask.from_json(code, pixels.shape) == RLEMask.from_array(pixels)


@given(bool_masks)
def test_rle_agrees_with_pycocotools(pixels):
    code = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    mask = RLEMask.from_json(code, pixels.shape)
    assert mask.counts == code["counts"].decode()
    assert mask.box() == tuple(coco.toBbox(code))


def test_long_runs_survive():
    pixels = np.zeros((1200, 1600), dtype=bool)
    pixels[100:1100, 30:1500] = True
    pixels[500, 700] = False
    mask = RLEMask.from_array(pixels)
    assert np.array_equal(RLEMask.from_json(mask.to_json(), pixels.shape).decode(), pixels)


def test_polygons_agree_with_pycocotools():
    polygons = [[1, 1, 8, 1.5, 7, 6, 2, 7], [10, 2, 14, 2, 12, 9.25]]
    mask = RLEMask.from_json(polygons, (12, 16))
    expected = coco.decode(coco.merge(coco.frPyObjects(polygons, 12, 16)))
    assert np.array_equal(mask.decode(), expected.astype(bool))
    assert mask.decode().any()


@pytest.mark.parametrize(
    "code",
    [
        [],
        [[]],
        [0, 0, 2, 2],
        [[0, 0, 2, 2]],
        [[0, 0, 5, 0, 5, 5, 3]],
        [["a"] * 6],
        [[float("nan")] * 6],
        [[1e9, 0, 5, 0, 5, 5]],
        "abc",
        3,
        None,
        {},
        {"counts": [72]},
        {"size": [8, 9]},
        {"size": [8, 9], "counts": None},
        {"size": [8, 9], "counts": ""},
        {"size": [8, 9], "counts": "garbage"},
        {"size": [8, 9], "counts": "é"},
        {"size": [8, 9], "counts": "o" * 40},
        {"size": [8, 9], "counts": [3]},
        {"size": [8, 9], "counts": [-1, 73]},
        {"size": [8, 9], "counts": [10**30]},
        {"size": [8], "counts": [72]},
        {"size": [9, 8], "counts": [72]},
    ],
)
def test_bad_codes_are_refused(code):
    with pytest.raises(RecordError, match="mask:"):
        RLEMask.from_json(code, (8, 9))


@given(st.text(alphabet=[chr(place) for place in range(48, 112)], max_size=8))
def test_any_code_is_read_or_refused(counts):
    try:
        mask = RLEMask.from_json({"size": [3, 5], "counts": counts}, (3, 5))
    except RecordError:
        return
    assert np.array_equal(RLEMask.from_array(mask.decode()).decode(), mask.decode())


def test_a_code_cut_short_is_refused():
    mask = RLEMask.from_array(np.eye(20, dtype=bool))
    with pytest.raises(RecordError, match="mask:"):
        RLEMask.from_json({"size": [20, 20], "counts": mask.counts[:-4]}, (20, 20))


@given(arrays(np.uint8, (5, 7), elements=st.integers(0, 4)), st.sets(st.integers(0, 5), min_size=1))
def test_label_masks(pixels, values):
    label_map = LabelMap(pixels)
    mask = label_map.mask(sorted(values))
    assert mask.size == (5, 7)
    assert label_map.values == tuple(sorted(set(pixels.ravel().tolist())))
    assert np.array_equal(mask.decode(), [[pixel in values for pixel in row] for row in pixels.tolist()])


@given(st.lists(arrays(bool, (4, 6)), max_size=4))
def test_union(parts):
    mask = UnionMask(tuple(map(RLEMask.from_array, parts)), shape=(4, 6))
    assert mask.size == (4, 6)
    assert np.array_equal(mask.decode(), np.any([np.zeros((4, 6), bool), *parts], axis=0))
