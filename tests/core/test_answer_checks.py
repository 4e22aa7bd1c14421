"""Answers to learn that are not of their kind's form are errors that name the entry."""

import pytest

from lasagna.core.answer_checks import check_answer
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.query_kind import GROUNDED_CAPTION, INSTANCES, kind_of
from lasagna.errors import QueryError
from tests.helpers.made_records import mask

MASK, OTHER = mask("#."), mask("#..")


@pytest.mark.parametrize(
    ("kind", "entries", "message"),
    [
        ("question", [Entry("dog", True, MASK)], "'dog' has a mask, and answers of kind 'question' have none"),
        ("categories", [Entry("dog", False, MASK)], "'dog' has a mask and is called absent"),
        (INSTANCES, [Entry("dog", True, masks=(MASK,))], "none of all of them; give their union as `mask`"),
        ("categories", [Entry("dog", True, MASK)] * 2, "'dog' has two entries"),
        ("categories", [Entry("sheep", True, MASK)], "'sheep' was not asked for"),
        (GROUNDED_CAPTION, [Entry("dog", False)], "'dog' is called absent, and grounded words"),
        (GROUNDED_CAPTION, [Entry("dog", True, MASK, span=(0.0, 3))], r"\[0.0, 3\] must be two whole numbers"),
        (
            "referring",
            [Entry("dog", True, MASK)] * 2,
            r"entries \['dog', 'dog'\], and kind 'referring' asks for \['dog",
        ),
        ("referring", [Entry("cat", True, MASK)], r"entries \['cat'\], and kind 'referring' asks for \['dog'\]"),
        ("referring", [], "give one entry for it"),
        ("question", [Entry("dog", True)], r"entries \['dog'\], and answers of kind 'question' are words only"),
        ("categories", [Entry("dog", True, MASK, span=(0, 3))], "'dog' has a span, and answers of kind 'categories'"),
        ("categories", [Entry("dog", True, OTHER)], r"a mask of 'dog': height and width are \(1, 3\), those of the im"),
        (INSTANCES, [Entry("dog", True, MASK, (MASK,), (OTHER,))], r"a mask of 'dog': height and width are \(1, 3\)"),
        ("categories", [Entry("dog", True, "dog")], "a mask of 'dog': expected a Mask, got a str; make one by RLEMask"),
        (GROUNDED_CAPTION, [Entry("dog", True, MASK, span=(0, 9))], r"\[0, 9\] holds no words of 'dog', which has 3"),
    ],
)
def test_entries_of_another_form_are_named(kind, entries, message):
    text = "dog" if kind_of(kind).words else ""
    with pytest.raises(QueryError, match=message):
        check_answer(Dialogue(kind, ("dog",), tuple(entries), text=text), (1, 2))


def test_words_and_ignored_pixels_that_do_not_fit_are_named():
    with pytest.raises(QueryError, match="text 'so', and answers of kind 'categories' have no words"):
        check_answer(Dialogue("categories", ("dog",), text="so"))
    with pytest.raises(QueryError, match=r"ignore: height and width are \(1, 3\)"):
        check_answer(Dialogue("categories", ("dog",), ignore=OTHER), (1, 2))


def test_two_names_may_share_a_mask():
    entries = tuple(Entry(name, True, MASK) for name in ("dog", "animal"))
    check_answer(Dialogue("categories", ("dog", "animal", "cat"), entries))
