"""The order in which objects are told: the largest first, and only those that can be seen."""

import numpy as np

from lasagna.core.object_order import objects_in_order
from tests.helpers.made_records import mask

BIG, LEFT, RIGHT, TALL = (
    mask("....", "###."),
    mask("##..", "...."),
    mask("...#", "...#"),
    mask("#...", "#..."),
)


def test_larger_objects_come_first_and_of_equal_ones_the_leftmost_then_the_highest():
    assert objects_in_order((RIGHT, TALL, LEFT, BIG), None, 9) == [BIG, TALL, LEFT, RIGHT]


def test_the_smallest_are_left_out_where_there_are_too_many():
    assert objects_in_order((RIGHT, BIG, LEFT), None, 2) == [BIG, LEFT]


def test_pixels_that_do_not_count_have_no_area():
    void = mask("...#", "####").decode()
    assert objects_in_order((BIG, RIGHT, TALL, LEFT), void, 9) == [LEFT, TALL]
    assert objects_in_order((mask("....", "...."),), None, 9) == []
    assert objects_in_order((), np.ones((2, 4), dtype=bool), 9) == []
