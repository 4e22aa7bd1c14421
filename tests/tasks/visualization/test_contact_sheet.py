from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.answer import AnsweredEntry
from lasagna.tasks.visualization import contact_sheet as sheet
from lasagna.tasks.visualization.contact_sheet import Example, ExamplePanel, contact_sheet
from lasagna.tasks.visualization.legend import WRONG, text_block
from lasagna.tasks.visualization.overlay import name_colours

IMAGE = np.full((60, 90, 3), 150, dtype=np.uint8)
MASK = np.arange(60 * 90).reshape(60, 90) % 90 < 40
SKY = AnsweredEntry("sky", True, 0.9, MASK)
DOG = AnsweredEntry("dog", False, 0.1)


def test_a_sheet_of_all_kinds():
    cases = [
        Example(IMAGE, "sky, dog", [SKY, DOG], truth=[SKY, DOG], note="somewhere"),
        Example(IMAGE, "how many?", [], text="two", truth_text="three"),
        Example(IMAGE, "sky", []),
        Example(IMAGE, ", ".join(["sky"] * 90), [SKY] * 90),
    ]
    sheet = contact_sheet(cases, columns=2, side=120)
    single = contact_sheet(cases[:1], columns=1, side=120)
    assert sheet.width > 1.5 * (single.width - 40)
    assert sheet.height > single.height


def test_questions_share_a_row():
    question = Example(IMAGE, "how many?", [], text="two", truth_text="two")
    asked = Example(IMAGE, "sky", [SKY], truth=[SKY])
    one, two, four = (contact_sheet([asked, *[question] * count], columns=2, side=150) for count in (0, 3, 4))
    assert two.width == 2 * one.width - 40 + 12
    assert two.height <= one.height
    assert four.height > one.height


def test_the_key_explains_red_where_answers_are_judged():
    judged = contact_sheet([Example(IMAGE, "sky", [SKY], truth=[SKY])])
    red = (np.asarray(judged) == np.array(WRONG)).all(axis=-1)
    assert red[:90].any()
    assert not (np.asarray(contact_sheet([Example(IMAGE, "sky", [SKY])])) == np.array(WRONG)).all(axis=-1).any()


def test_the_key_explains_what_is_drawn_and_nothing_else(monkeypatch):
    keys = []
    monkeypatch.setattr(
        sheet, "text_block", lambda lines, width, size: keys.append(lines) or text_block([], width, size)
    )
    phrase = replace(SKY, span=(0, 3))
    names, caption = Example(IMAGE, "sky", [SKY], truth=[SKY]), Example(IMAGE, "", [phrase], text="sky", truth=[phrase])
    question = Example(IMAGE, "how many?", [], text="two", truth_text="two")
    for examples in ([names], [caption], [question], [names, caption]):
        contact_sheet(examples, columns=1, side=900)
    texts = [" ".join(line for line, _ in lines) for lines in keys]
    red, phrases = sheet.KEY_OF_RED, sheet.KEY_OF_CAPTIONS
    for expected in (f"{sheet.KEY} {red}", phrases, red, f"{sheet.KEY} {phrases} {red}"):
        assert expected in texts


def test_wrong_decisions_are_known():
    lie = AnsweredEntry("dog", True, 0.8, MASK)
    assert Example(IMAGE, "", [SKY, lie], truth=[SKY, DOG]).wrong() == {"dog"}
    assert Example(IMAGE, "", [SKY, lie]).wrong() == set()
    assert Example(IMAGE, "", [SKY], truth=[SKY, DOG]).wrong() == set()


def test_wrong_numbers_of_objects_are_known():
    case = Example(IMAGE, "", [SKY, DOG], counts={"sky": 2, "dog": 1})
    assert case.wrong_counts() == {"sky": 2}
    assert Example(IMAGE, "", [SKY], counts={"sky": 1, "dog": 1}).wrong_counts() == {}


def test_wrong_decisions_are_red():
    def red(case):
        pixels = np.asarray(ExamplePanel(case, name_colours(["sky"]), 240).draw()).astype(int)
        return int(((pixels[..., 0] > 190) & (pixels[..., 1] < 60) & (pixels[..., 2] < 70)).sum())

    assert red(Example(IMAGE, "q", [], text="two", truth_text="three")) > 0
    assert red(Example(IMAGE, "q", [], text="Three ", truth_text="three")) == 0
    assert red(Example(IMAGE, "q", [SKY], truth=[SKY], counts={"sky": 2})) > 0
    assert red(Example(IMAGE, "q", [SKY], truth=[SKY], counts={"sky": 1})) == 0
    assert red(Example(IMAGE, "q", [DOG], truth=[SKY, AnsweredEntry("dog", True, 1.0)])) > 0


def test_words_behind_a_mask_are_shown_and_not_judged():
    told = Example(IMAGE, "q", [SKY], text="<SEG> two", truth=[SKY], truth_text="three")
    panels = [
        np.asarray(ExamplePanel(case, name_colours(["sky"]), 240).draw())
        for case in (told, replace(told, text="", truth_text=""))
    ]
    assert panels[0].shape[0] > panels[1].shape[0]
    assert not (panels[0] == np.array(WRONG)).all(axis=-1).any()


def test_what_is_drawn_is_named_however_long_the_list():
    names = [f"name {rank}" for rank in range(150)]
    colours = {names[-1]: (0, 255, 0), names[-2]: (0, 0, 255)}
    absent = [AnsweredEntry(name, False, 0.1) for name in names[:-2]]
    truth = [*absent, AnsweredEntry(names[-2], True, 1.0, MASK), AnsweredEntry(names[-1], True, 1.0, MASK)]
    entries = [*absent, AnsweredEntry(names[-2], False, 0.3), AnsweredEntry(names[-1], True, 0.9, MASK)]
    case = Example(IMAGE, ", ".join(names), entries, truth=truth)
    legend = np.asarray(ExamplePanel(case, colours, 240).draw())[-150:].astype(int)
    assert (abs(legend - (0, 250, 0)).max(-1) < 10).sum() > 50, "the swatch of what was found"
    assert (abs(legend - (0, 0, 250)).max(-1) < 10).sum() > 10, "the hollow swatch of what was missed"


@pytest.mark.parametrize(("cases", "columns", "message"), [([], 2, "none"), ([Example(IMAGE, "", [])], 0, "positive")])
def test_bad_arguments(cases, columns, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(cases, columns=columns)
