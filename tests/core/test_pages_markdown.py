"""Pieces of Markdown, and that the HTML page reads them."""

import pytest

from lasagna.core.pages import figure, plain, table, to_page


@pytest.mark.parametrize(
    "cells",
    [["1", "-2.5", "-"], ["12.50%"], ["0.5000 ± 0.1000 (3)", "", "0.1 (1)"], ["nan ± inf (2)", "0.2 ± nan (1)"]],
)
def test_columns_of_numbers_stand_at_the_right(cells):
    assert table(["name", "value"], [["a", cell] for cell in cells])[1] == "| --- | ---: |"


@pytest.mark.parametrize("cell", ["3 x 4", "1, 2", "v1", "1.2.3", "nothing"])
def test_other_columns_stand_at_the_left(cell):
    assert table(["value"], [["1"], [cell]])[1] == "| --- |"


def test_a_table_without_rows_has_its_head():
    assert table(["a", "b"], []) == ["| a | b |", "| --- | --- |"]


def test_names_of_any_kind_come_back_from_the_page():
    page = to_page("t", "\n".join(table(["name"], [["left|right"], ["two\nlines"]])))
    assert "<td>left|right</td>" in page
    assert "<td>two lines</td>" in page
    assert plain(" a  b\n") == "a b"


def test_a_picture_stands_by_itself():
    assert '<img src="a.png" alt="what is seen">' in to_page("t", "\n".join(["text", *figure("a.png", "what is seen")]))
