"""Answers that show themselves: text, plots, tables for notebooks, COCO results and label maps."""

import re
from base64 import b64decode
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_display import THUMBNAIL
from lasagna.errors import QueryError
from tests.helpers.made_answers import answer, pixels

SKY = pixels("####", "####", "....")
SUN = pixels(".##.", "....", "....")
HOSTILE = '<script>alert("$x$")</script>'
IMAGE = np.full((3, 4, 3), 90, dtype=np.uint8)


@pytest.fixture
def axes():
    yield plt.figure().add_subplot()
    plt.close("all")


def test_an_answer_is_readable_with_a_line_for_each_entry():
    shown = repr(answer({"sky": SKY, "sun": SUN & False, "dog": None}, "sky <SEG>", ("order",), score=0.9))
    assert shown.splitlines() == [
        "Answer('sky <SEG>')",
        "  'sky': present, score 0.900, confidence 0.800, box (0, 0, 4, 2)",
        "  'sun': present, score 0.900, confidence 0.800, empty mask",
        "  'dog': absent, score 0.100",
        "  faults: order",
    ]
    assert repr(Answer("three birds")) == "Answer('three birds')"
    assert "without a mask" in repr(AnsweredEntry("sky", True, 0.5))


def birds():
    return AnsweredEntry("bird", True, 0.9, masks=(pixels("#...", "#...", "...."), SUN), scores=(0.8, 0.6))


def test_several_masks_of_a_name_have_a_union_and_scores():
    entry, one = birds(), AnsweredEntry("sun", True, 0.9, SUN)
    assert entry.mask.tolist() == pixels("###.", "#...", "....").tolist()
    assert (entry.apart, len(entry.masks), entry.scores) == (True, 2, (0.8, 0.6))
    assert "2 masks in box (0, 0, 3, 2)" in repr(entry)
    assert (one.apart, one.masks, one.scores) == (False, (SUN,), (0.9,))
    empty = AnsweredEntry("sun", True, 0.9, SUN & False)
    assert (empty.apart, empty.masks, empty.scores) == (False, (), ())
    with pytest.raises(QueryError, match="'bird' has 1 for 2 masks"):
        AnsweredEntry("bird", True, 0.9, masks=entry.masks, scores=(0.8,))


def test_several_masks_of_a_name_are_drawn_apart(axes):
    shown = Answer("", (birds(),))
    shown.plot(IMAGE, axes)
    paint = axes.images[1].get_array()
    assert [len(np.unique(paint[mask][:, :3], axis=0)) for mask in (*birds().masks, birds().mask)] == [1, 1, 2]
    assert len(axes.collections) == 2  # outlines
    assert axes.get_legend().get_texts()[0].get_text() == "bird 0.90 (2 masks)"
    html = shown._repr_html_()
    (picture,) = re.findall(r"base64,([^\"]+)", html)
    with Image.open(BytesIO(b64decode(picture))) as image:
        assert len(np.unique(np.asarray(image))) == 3
    assert "present, 2 masks" in html
    single = Answer("", (AnsweredEntry("bird", True, 0.9, masks=(SUN,), scores=(0.8,)),))._repr_html_()
    assert "<td>present</td>" in single


def test_a_box_is_left_top_width_and_height():
    assert AnsweredEntry("sun", True, 0.9, SUN).box == (1, 0, 2, 1)


def test_a_plot_paints_the_mask_on_top_and_names_what_is_present_and_absent(axes):
    shown = answer({"sky": (SKY, SKY * np.float16(0.6)), "sun": (SUN, SUN * np.float16(0.9)), "a $dog$": None})
    assert shown.plot(IMAGE, axes) is axes
    paint = axes.images[1].get_array()
    assert (paint[..., 3] > 0).tolist() == SKY.tolist()
    colours = [handle.get_facecolor()[:3] for handle in axes.get_legend().get_patches()]
    assert (paint[SUN][:, :3] == colours[1]).all()
    assert (paint[SKY & ~SUN][:, :3] == colours[0]).all()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["sky 0.90", "sun 0.90"]
    assert axes.get_xlabel() == "absent: a $dog$"
    axes.figure.savefig(BytesIO())


@pytest.mark.parametrize("count", [0, 1, 15, 90])
def test_any_number_of_names_can_be_plotted_in_colours_of_their_own(axes, count):
    names = {f"{HOSTILE} {rank}": SKY for rank in range(count)} | {f"absent {rank}": None for rank in range(count)}
    answer(names, "no names\nat all").plot(IMAGE, axes)
    legend = axes.get_legend()
    assert len({handle.get_facecolor() for handle in legend.get_patches()} if legend else ()) == count
    assert axes.get_xlabel().startswith("absent: absent 0" if count else "")
    assert ("more" in axes.get_xlabel()) == (count > 20)
    assert axes.get_title() == ("" if count else "no names at all")
    axes.figure.savefig(BytesIO())


def test_a_plot_without_axes_makes_a_figure_and_another_image_is_refused():
    axes = answer({"sky": SKY}).plot(IMAGE)
    assert axes.figure.axes == [axes]
    plt.close("all")
    with pytest.raises(QueryError, match=r"image: .*\(4, 3\).*'sky'.*\(3, 4\)"):
        answer({"sky": SKY}).plot(IMAGE.transpose(1, 0, 2))


def test_the_table_of_a_notebook_shows_masks_and_escapes_names():
    large = np.zeros((300, 150), dtype=bool)
    large[:150] = True
    html = answer({HOSTILE: large, "dog": None}, f"{HOSTILE} <SEG>", ("order",))._repr_html_()
    assert "<script>" not in html
    assert html.count("&lt;script&gt;") == 3, "in the text, the name and the picture's description"
    assert "50.0%" in html
    assert "<s>dog</s>" in html
    assert "present, empty mask" not in html
    assert "present, empty mask" in answer({"sun": SUN & False})._repr_html_()
    content = b64decode(re.search(r'src="data:image/png;base64,(.+?)"', html)[1])
    with Image.open(BytesIO(content)) as mask:
        assert mask.size == (THUMBNAIL // 2, THUMBNAIL)
        assert (np.asarray(mask)[:40] == 255).all()
    assert answer({}, "three")._repr_html_() == "<p>three</p>"


def test_coco_reads_the_results():
    truth = COCO()
    categories = [{"id": 1}, {"id": 5}]
    image = {"id": 7, "height": 3, "width": 4}
    truth.dataset = {"info": {}, "images": [image], "categories": categories, "annotations": []}
    truth.createIndex()
    loaded = truth.loadRes(answer({"sky": SKY, "dog": None, "sun": SUN}).to_coco(7, {"sun": 5, "sky": 1}))
    found = {part["category_id"]: part for part in loaded.loadAnns(loaded.getAnnIds(imgIds=[7]))}
    assert np.array_equal(loaded.annToMask(found[1]), SKY)
    assert np.array_equal(loaded.annToMask(found[5]), SUN)
    assert (found[5]["area"], found[5]["score"]) == (2, 0.9)
    assert list(found[5]["bbox"]) == [1, 0, 2, 1]


def test_coco_needs_an_id_for_each_present_name_and_gets_no_empty_masks():
    assert answer({"sky": SKY & False, "dog": None}).to_coco(1, {"sky": 1}) == []
    assert [result["score"] for result in Answer("", (birds(),)).to_coco(1, {"bird": 7})] == [0.8, 0.6]
    with pytest.raises(QueryError, match=r"categories: no id for \['sky'\]"):
        answer({"sky": SKY}).to_coco(1, {"dog": 1})


def test_a_label_map_has_positions_of_names_and_the_more_probable_mask_on_top():
    shown = answer({"sky": (SKY, SKY * np.float16(0.6)), "dog": None, "sun": (SUN, SUN * np.float16(0.9))})
    labels = shown.label_map()
    assert labels.dtype == np.int32
    assert labels.tolist() == np.where(SUN, 2, np.where(SKY, 0, -1)).tolist()
    assert shown.label_map(["dog", "Sun"]).tolist() == np.where(SUN, 1, -1).tolist()
    assert (
        shown.label_map(["sun", "sky"], none=255).astype(np.uint8).tolist()
        == np.where(SUN, 0, np.where(SKY, 1, 255)).tolist()
    )
    assert (shown.label_map().astype(np.uint8) == 255).sum() == 4


def test_a_label_map_follows_what_the_answer_says_about_overlaps():
    entries = answer({"sky": SKY, "sun": SUN}).entries
    assert Answer("", entries).label_map().tolist() == np.where(SKY, 0, -1).tolist(), "of equals the first"
    top = answer({"sky": (SKY, SKY * np.float16(0.1)), "sun": (SUN, SUN * np.float16(0.2))}).overlap_map()
    assert Answer("", entries, top=top).label_map().tolist() == np.where(SUN, 1, np.where(SKY, 0, -1)).tolist()


def test_one_text_is_no_list_of_names():
    with pytest.raises(QueryError, match=r"names: expected a list of names, got the text 'sky'; give \['sky'\]"):
        answer({"sun": SUN}).label_map("sky")


def test_a_label_map_without_masks_needs_a_size():
    with pytest.raises(QueryError, match=r"size: .*\(height, width\)"):
        answer({"dog": None}).label_map()
    assert answer({"dog": None}).label_map(size=(1, 2)).tolist() == [[-1, -1]]
