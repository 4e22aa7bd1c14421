import numpy as np
import pytest

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import QueryKind, kind_of
from lasagna.tasks.visualization import legend
from lasagna.tasks.visualization.answer import (
    SMALLEST_SIDE,
    draw_answer,
    object_counts,
    shown_words,
    title_lines,
    truth_entries,
)
from lasagna.tasks.visualization.legend import Legend, shorten, text_width, wrap
from lasagna.tasks.visualization.overlay import name_colours, overlay


def box(size, top, bottom):
    mask = np.zeros(size, dtype=bool)
    mask[top:bottom, top:bottom] = True
    return mask


def pixels(picture):
    return np.asarray(picture).reshape(-1, 3)


def has_colour(picture, colour):
    return bool((pixels(picture) == colour).all(axis=1).any())


@pytest.mark.parametrize("size", [(32, 32), (1, 40), (40, 1), (300, 900), (2000, 1500)])
def test_images_of_all_sizes(size):
    image = np.full((*size, 3), 128, dtype=np.uint8)
    entries = [AnsweredEntry("sky", True, 0.9, np.ones(size, dtype=bool)), AnsweredEntry("dog", False, 0.1)]
    picture = draw_answer(image, "sky, dog", entries)
    assert max(picture.size) > max(SMALLEST_SIDE, *size)
    assert has_colour(picture, name_colours(["sky"])["sky"])


def test_the_picture_shows_through_its_masks():
    image = np.tile(np.linspace(60, 200, 100).astype(np.uint8)[None, :, None], (100, 1, 3))
    everything = AnsweredEntry("a", True, 1.0, np.ones((100, 100), dtype=bool))
    drawn = np.asarray(overlay(image, [everything], {"a": (10, 200, 250)}, side=100)).astype(int)
    assert drawn[50, 90, 0] - drawn[50, 10, 0] > 0.55 * (int(image[50, 90, 0]) - int(image[50, 10, 0]))


def test_an_answer_in_words_is_darker_than_its_question():
    (_, asked), (_, answered) = title_lines("how many?", "two", 400, 20)
    assert sum(answered) < sum(asked)
    assert title_lines("sky", "", 400, 20)[0][1] == answered


def test_drawing_is_deterministic_and_leaves_the_image_alone():
    image = np.full((64, 64, 3), 90, dtype=np.uint8)
    entries = [AnsweredEntry("ball", True, 0.9, box((64, 64), 10, 30))]
    assert draw_answer(image, "ball", entries).tobytes() == draw_answer(image, "ball", entries).tobytes()
    assert (image == 90).all()


def test_overlay_paints_inside_and_around_the_mask_only():
    image = np.full((100, 100, 3), 200, dtype=np.uint8)
    drawn = np.asarray(
        overlay(image, [AnsweredEntry("a", True, 1.0, box((100, 100), 20, 60))], {"a": (10, 20, 250)}, side=100)
    )
    assert (drawn[20, 20:60] == (10, 20, 250)).all()
    assert (drawn[:19] == 200).all()
    assert (drawn[61:] == 200).all()
    assert (drawn[19, 20:60] < 200).all()
    assert (drawn[40, 40] != 200).all()
    assert tuple(drawn[40, 40]) != (10, 20, 250)


def test_objects_of_a_name_have_shades_of_its_colour():
    image, size = np.zeros((100, 100, 3), dtype=np.uint8), (100, 100)
    masks = tuple(box(size, start, start + 20) for start in (5, 40, 75))
    entry = AnsweredEntry("bird", True, 1.0, masks=masks, scores=(0.9, 0.8, 0.7))
    drawn = np.asarray(overlay(image, [entry], {"bird": (200, 100, 0)}, side=100))
    rims = [tuple(drawn[start, start].tolist()) for start in (5, 40, 75)]
    assert rims[0] < rims[1] < rims[2]  # from darker to lighter


def test_small_masks_lie_on_large_ones():
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    small = AnsweredEntry("small", True, 1.0, box((100, 100), 40, 60))
    large = AnsweredEntry("large", True, 1.0, np.ones((100, 100), dtype=bool))
    colours = {"small": (250, 0, 0), "large": (0, 0, 250)}
    for entries in ([small, large], [large, small]):
        drawn = np.asarray(overlay(image, entries, colours, side=100))
        assert tuple(drawn[40, 40]) == (250, 0, 0)


def test_a_mask_that_fills_the_picture_has_no_line_at_the_border():
    drawn = np.asarray(
        overlay(
            np.zeros((50, 50, 3), np.uint8),
            [AnsweredEntry("a", True, 1.0, np.ones((50, 50), bool))],
            {"a": (200, 100, 0)},
            side=50,
        )
    )
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_absent_and_empty_entries_draw_no_mask():
    image = np.full((64, 64, 3), 77, dtype=np.uint8)
    entries = [
        AnsweredEntry("gone", False, 0.0, box((64, 64), 5, 50)),
        AnsweredEntry("none", True, 1.0, None),
        AnsweredEntry("empty", True, 1.0, np.zeros((64, 64), dtype=bool)),
    ]
    drawn = overlay(image, entries, name_colours(["none", "empty"]), side=64)
    assert (np.asarray(drawn) == 77).all()


def test_only_present_names_have_a_swatch_and_only_absent_ones_a_line():
    colours = {"dog": (250, 10, 20)}
    present = Legend([AnsweredEntry("dog", True, 0.5, np.ones((2, 2), bool))], colours, 20).beside(100)
    absent = Legend([AnsweredEntry("dog", False, 0.5)], colours, 20).beside(100)
    assert has_colour(present, colours["dog"])
    assert not has_colour(absent, colours["dog"])
    middle = np.asarray(absent)[absent.height // 2 + 2, 30 : 30 + text_width("dog", 20)]
    assert (middle == middle[0]).all()
    assert middle[0, 0] < 255


def test_the_number_of_masks_stands_behind_the_name_and_is_never_cut(monkeypatch):
    written = []
    monkeypatch.setattr(legend, "write", lambda draw, place, text, size, ink: written.append((text, ink)))
    one, two = box((9, 9), 0, 2), box((9, 9), 4, 6)
    birds = AnsweredEntry("bird " * 40, True, 0.9, masks=(one, two), scores=(0.9, 0.8))
    entries = [birds, AnsweredEntry("kite", True, 0.9, one), AnsweredEntry("moon", True, 0.9, one & two)]
    names = {entry.name: (1, 2, 3) for entry in entries}
    Legend(entries, names, 20, scores=False, counts={"kite": 3}).beside(100)
    assert [(text[:4] + text[text.index(" (") :], ink) for text, ink in written] == [
        ("bird (2 masks)", legend.INK),
        ("kite (1 mask, not 3)", legend.WRONG),
        ("moon (empty mask)", legend.INK),
    ]


@pytest.mark.parametrize("count", [1, 25, 200])
def test_long_lists_wrap_to_columns(count):
    entries = [AnsweredEntry(f"name {number}", False, 0.0) for number in range(count)]
    legend = Legend(entries, {}, 15)
    drawn = legend.beside(448)
    columns = (drawn.width + 15) // legend.column_width
    rows = drawn.height // legend.row_height
    assert columns <= 4
    assert rows * columns >= count
    assert legend.below(900).width <= 900
    box = legend.across(300, 5)
    assert box.width <= 300
    assert box.height <= 5 * legend.row_height


def test_text_is_shortened_and_wrapped_to_its_width():
    text = "a rather long phrase about nothing much at all"
    assert text_width(shorten(text, 100, 15), 15) <= 100
    assert shorten("short", 100, 15) == "short"
    lines = wrap(text, 120, 15, 2)
    assert len(lines) == 2
    assert lines[-1].endswith("...")
    assert all(text_width(line, 15) <= 120 for line in lines)
    assert " ".join(wrap(text, 120, 15, 20)) == text
    assert wrap("", 120, 15, 2) == []


def test_names_that_no_font_has_are_drawn():
    names = ["\u732b\u72ac", "new\nline", "\u200b", "x" * 500, "\U0001f415"]
    entries = [AnsweredEntry(name, True, 0.5, None) for name in names]
    assert draw_answer(np.zeros((40, 40, 3), np.uint8), ", ".join(names), entries).width > SMALLEST_SIDE


def test_truth_fills_in_absent_names_in_the_querys_order():
    mask = box((4, 4), 1, 3)
    entries = (Entry("cat", False), Entry("sky", True, RLEMask.from_array(mask)))
    truth = truth_entries(Dialogue("categories", ("dog", "sky", "cat"), entries))
    assert [(entry.name, entry.present) for entry in truth] == [("dog", False), ("sky", True), ("cat", False)]
    assert np.array_equal(truth[1].mask, mask)
    code = RLEMask.from_array(mask)
    asked = Dialogue("instances", ("bird", "cat"), (Entry("bird", True, code, (code, code)), Entry("cat", False)))
    assert [(entry.apart, len(entry.masks)) for entry in truth_entries(asked)] == [(True, 2), (False, 0)]
    assert truth_entries(Dialogue("question", ("how many?",), text="two")) == []


def test_objects_are_counted_where_they_are_asked_for_and_known():
    code = RLEMask.from_array(box((4, 4), 1, 3))
    birds, cars = Entry("bird", True, code, (code, code)), Entry("car", True, code, (code,), crowds=(code,))
    whole = Entry("sky", True, code)  # of a task that knows the pixels only
    assert object_counts(Dialogue("instances", ("bird", "car", "cat", "sky"), (birds, cars, whole))) == {"bird": 2}
    assert object_counts(Dialogue("categories", ("bird",), (birds,))) == {}


def test_words_are_shown_wherever_a_kind_has_them_and_it_is_said_where_none_were_written():
    told = QueryKind("told", words=True)
    kinds = ("question", "grounded_caption", told, "referring")
    shown = [shown_words(kind_of(kind), Answer("<SEG> two", words="two birds")) for kind in kinds]
    assert shown == ["<SEG> two", "two birds", "<SEG> two", ""]
    assert [shown_words(kind_of(kind), Answer(" ")) for kind in kinds] == ["(no words)"] * 3 + [""]
