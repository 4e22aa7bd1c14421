import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.datamodules.converters.common.polygons import fill_polygon
from lasagna.errors import RecordError

TRIANGLE = """
................
.####...........
.##########.....
..#############.
..############..
...#########....
...########.....
....#####.......
....####........
.....#..........
................
"""
CROSSED = """
................
.#............#.
.###........###.
.#####....#####.
.######..######.
.##############.
.######..######.
.#####....#####.
.###........###.
.#............#.
................
"""
STAR = """
...#............
...#............
...##.....###...
...#########....
##########......
.##.#####.......
..#..###........
..##.#..........
..####..........
..#..##.........
......#.........
"""


@pytest.mark.parametrize(
    ("points", "drawn"),
    [
        ([[1.9, 1.2], [14.7, 3.1], [5.5, 9.9]], TRIANGLE),
        ([[1, 1], [14, 9], [14, 1], [1, 9]], CROSSED),
        ([[3, 0], [6, 10], [0, 4], [12, 2], [2, 9]], STAR),
    ],
)
def test_pixels_are_those_of_opencv_4_8(points, drawn):
    # pictures made once with cv2 4.8.1, polylines and fillPoly
    found = fill_polygon(points, (11, 16))
    assert ["".join(".#"[value] for value in row) for row in found.astype(int)] == drawn.split()


def drawn_by_opencv(points, size):
    canvas, corners = np.zeros(size, np.uint8), np.array([points], np.int32)
    cv2.polylines(canvas, corners, True, 1, 1)
    cv2.fillPoly(canvas, corners, 1)
    return canvas.astype(bool)


@st.composite
def polygons(draw):
    """A size of an image, and corners within it, around it or far away."""
    height, width = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    reach = min(draw(st.sampled_from([0, 3, 30, 300])), 15 * max(height, width))
    number = st.floats if draw(st.booleans()) else st.integers
    corner = st.tuples(number(-reach, width - 1 + reach), number(-reach, height - 1 + reach))
    return draw(st.lists(corner, min_size=1, max_size=9)), (height, width)


@settings(max_examples=200)
@given(polygons())
def test_any_polygon_is_drawn_as_opencv_draws_it(polygon):
    points, size = polygon
    found, expected = fill_polygon(points, size), drawn_by_opencv(points, size)
    assert np.array_equal(found, expected), f"{(found & ~expected).sum()} too many, {(expected & ~found).sum()} lacking"


def test_what_lies_outside_is_cut_off():
    assert np.array_equal(fill_polygon([[-9, -9], [30, -9], [30, 4], [-9, 4]], (6, 8)), np.arange(6)[:, None] < [5] * 8)
    assert not fill_polygon([[20, 20], [30, 20], [30, 30]], (6, 8)).any()


def test_a_flat_polygon_is_its_outline():
    assert fill_polygon([[1, 2], [5, 2], [3, 2]], (6, 8)).sum() == 5


@pytest.mark.parametrize(
    "points", [[[1, 2, 3], [4, 5, 6]], [["a", "b"]] * 3, [[0, 0], [1e9, 0], [0, 5]], [[0, float("nan")]] * 3]
)
def test_points_that_are_none_are_refused(points):
    with pytest.raises(RecordError, match="polygon"):
        fill_polygon(points, (6, 8))
