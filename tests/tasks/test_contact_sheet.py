import numpy as np
import pytest

from lasagna.dialogue import AnsweredEntry
from lasagna.tasks.contact_sheet import Case, contact_sheet

IMAGE = np.full((60, 90, 3), 150, dtype=np.uint8)
MASK = np.arange(60 * 90).reshape(60, 90) % 90 < 40
SKY = AnsweredEntry("sky", True, 0.9, MASK)
DOG = AnsweredEntry("dog", False, 0.1)


def test_a_sheet_of_all_kinds():
    cases = [
        Case(IMAGE, "sky, dog", [SKY, DOG], truth=[SKY, DOG], note="somewhere"),
        Case(IMAGE, "how many?", [], text="two", truth_text="three"),
        Case(IMAGE, "sky", []),
        Case(IMAGE, ", ".join(["sky"] * 90), [SKY] * 90),
    ]
    sheet = contact_sheet(cases, columns=2, side=120)
    single = contact_sheet(cases[:1], side=120)
    assert sheet.width > 1.9 * (single.width - 40)
    assert sheet.height > 1.9 * (single.height - 40)


def test_wrong_decisions_are_known():
    lie = AnsweredEntry("dog", True, 0.8, MASK)
    assert Case(IMAGE, "", [SKY, lie], truth=[SKY, DOG]).wrong() == {"dog"}
    assert Case(IMAGE, "", [SKY, lie]).wrong() == set()
    assert Case(IMAGE, "", [SKY], truth=[SKY, DOG]).wrong() == set()


def test_wrong_decisions_are_red():
    def red(case):
        pixels = np.asarray(contact_sheet([case])).astype(int)
        return int(((pixels[..., 0] > 190) & (pixels[..., 1] < 60) & (pixels[..., 2] < 70)).sum())

    assert red(Case(IMAGE, "q", [], text="two", truth_text="three")) > 0
    assert red(Case(IMAGE, "q", [], text="Three ", truth_text="three")) == 0
    assert red(Case(IMAGE, "q", [DOG], truth=[SKY, AnsweredEntry("dog", True, 1.0)])) > 0


@pytest.mark.parametrize(("cases", "columns", "message"), [([], 2, "none"), ([Case(IMAGE, "", [])], 0, "positive")])
def test_bad_arguments(cases, columns, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(cases, columns=columns)
