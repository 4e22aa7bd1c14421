"""Pieces of Markdown, and pages that embed their pictures and show text of any kind as it is."""

import re
from base64 import b64decode
from html import escape

import numpy as np
import pytest
from PIL import Image

from lasagna.core.pages import figure, plain, table, to_page


def test_pages_hold_their_pictures_and_large_photographs_as_jpeg(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "plot.png")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "sheet.jpg")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 4), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    text = "![a plot](plot.png)\n\n![a sheet](sheet.jpg)\n"
    shown = re.findall(r'src="data:image/(\w+);base64,(.+?)"', to_page("P", text, ["photo.png"], tmp_path))
    assert [kind for kind, _ in shown] == ["png", "jpeg", "jpeg"]
    held = [b64decode(content, validate=True) for _, content in shown]
    assert held[:2] == [(tmp_path / name).read_bytes() for name in ("plot.png", "sheet.jpg")]
    assert len(held[2]) < (tmp_path / "photo.png").stat().st_size


HOSTILE = ["<script>alert(1)</script>", '" onload="x', "![a](secret.txt)", "![a](../plot.png)", "[a](javascript:x)"]
HOSTILE += ["*a* _b_ 2*3*4", "&lt;", "`c`", "C:\\_data", "<https://a.org>", "![a](missing.png)"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_any_kind_are_shown_as_they_are_and_embed_nothing(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "secret.txt").write_text("the secret")
    Image.new("RGB", (4, 3)).save(tmp_path / "plot.png")
    lines = [f"## {name}", "", *table(["name"], [[name]]), "", f"- {name}", "", name]
    page = to_page(name, "\n".join(lines), folder=tmp_path / "out")
    assert not re.search("<(script|img|a|em|code)\\b", page)
    shown = escape(name)
    for tag in ("title", "h1", "h2", "td", "li", "p"):
        assert f"<{tag}>{shown}</{tag}>" in page


def test_pages_without_a_folder_refer_only_to_pictures_beside_them():
    assert '<img src="plot.png"' in to_page("P", "![a](plot.png)")
    assert "<img" not in to_page("P", "![a](https://a.org/plot.png)\n\n![a](/elsewhere/plot.png)")


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
    assert '<img src="a.png" alt="what is seen" loading="lazy">' in to_page(
        "t", "\n".join(["text", *figure("a.png", "what is seen")])
    )
