import numpy as np
import pytest

from lasagna.datamodules.converters.fill_polygon import fill_polygon
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
def test_pixels_are_those_of_opencv(points, drawn):
    # pictures made once with cv2 4.8.1, polylines and fillPoly
    found = fill_polygon(points, (11, 16))
    assert ["".join(".#"[value] for value in row) for row in found.astype(int)] == drawn.split()


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
