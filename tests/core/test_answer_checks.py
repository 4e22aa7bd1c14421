"""Answers to learn that are not of their kind's form are errors that name the entry."""

import pytest

from lasagna.core.answer_checks import check_answer
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.query_kind import GROUNDED_CAPTION, INSTANCES
from lasagna.errors import QueryError
from tests.helpers.made_records import mask

MASK = mask("#.")


@pytest.mark.parametrize(
    ("kind", "entries", "message"),
    [
        ("question", [Entry("dog", True, MASK)], "'dog' has a mask, and answers of kind 'question' have none"),
        ("categories", [Entry("dog", False, MASK)], "'dog' has a mask and is called absent"),
        (INSTANCES, [Entry("dog", True, masks=(MASK,))], "none of all of them; give their union as `mask`"),
        ("categories", [Entry("dog", True, MASK)] * 2, "'dog' has two entries"),
        ("categories", [Entry("sheep", True, MASK)], "'sheep' was not asked for"),
        (GROUNDED_CAPTION, [Entry("dog", False)], "'dog' is called absent, and grounded words"),
        (GROUNDED_CAPTION, [Entry("dog", True, MASK, span=(0, 9))], r"\[0, 9\] holds no words of 'dog', which has 3"),
    ],
)
def test_entries_of_another_form_are_named(kind, entries, message):
    with pytest.raises(QueryError, match=message):
        check_answer(Dialogue(kind, ("dog",), tuple(entries), text="dog"))


def test_two_names_may_share_a_mask():
    entries = tuple(Entry(name, True, MASK) for name in ("dog", "animal"))
    check_answer(Dialogue("categories", ("dog", "animal", "cat"), entries))
