import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.tasks.metrics import AnswerAccuracy
from lasagna.tasks.metrics.answer_accuracy import NUMBER_WORDS, answer_type, normalise_answer
from tests.helpers.made_answers import answer, dialogue


def plain_normal(text):
    """The same rule letter by letter, for plain words."""
    kept = "".join(" " if letter in string.punctuation.replace("_", "") else letter for letter in text.lower())
    numbers = dict(zip(NUMBER_WORDS, map(str, range(11)), strict=True))
    words = [numbers.get(word, word) for word in kept.split()]
    return " ".join([word for word in words if word not in ("a", "an", "the")] or words)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Two.", "2"),
        (" the  Red ball!", "red ball"),
        ("1,200", "1200"),
        ("3.5 m", "3.5 m"),
        ("Yes, it is", "yes it is"),
        ("a", "a"),
        ("", ""),
    ],
)
def test_normal_form(text, normal):
    assert normalise_answer(text) == normal


@given(st.text(max_size=20))
def test_normal_form_is_final(text):
    assert normalise_answer(normalise_answer(text)) == normalise_answer(text)


@given(
    st.lists(st.sampled_from(["a", "The", "two", "Ten", "ball", "yes", "red", "4"]), max_size=5),
    st.sampled_from("!?,;"),
)
def test_normal_form_equals_a_plain_one(words, mark):
    text = f"{mark} ".join(words) + mark
    assert normalise_answer(text) == plain_normal(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("No!", "yes-no"),
        ("three", "number"),
        ("12", "number"),
        ("0.5", "number"),
        ("red", "other"),
        ("3 dogs", "other"),
    ],
)
def test_types(text, kind):
    assert answer_type(text) == kind


def test_counted_by_hand():
    metric = AnswerAccuracy()
    for truth, text in [
        ("two", "2."),
        ("two", "three"),
        ("yes", "Yes."),
        ("red", "blue"),
        ("the sea", "sea"),
        ("no", ""),
    ]:
        metric.update(dialogue(["?"], {}, kind="question", text=truth), answer({}, text=text))
    assert {key: value.item() for key, value in metric.compute().items()} == {
        "vqa_accuracy/lasagna-v1": 0.5,
        "vqa_accuracy/lasagna-v1/yes-no": 0.5,
        "vqa_accuracy/lasagna-v1/number": 0.5,
        "vqa_accuracy/lasagna-v1/other": 0.5,
    }


@given(
    st.lists(st.tuples(st.sampled_from(["yes", "2", "red"]), st.sampled_from(["Yes!", "two", "red", ""])), min_size=1)
)
def test_equals_a_plain_count(pairs):
    metric = AnswerAccuracy()
    for truth, text in pairs:
        metric.update(dialogue(["?"], {}, kind="question", text=truth), answer({}, text=text))
    same = {"Yes!": "yes", "two": "2", "red": "red", "": None}
    right = [same[text] == truth for truth, text in pairs]
    assert metric.compute()["vqa_accuracy/lasagna-v1"].item() == pytest.approx(sum(right) / len(right))
    assert all(re.fullmatch(r"[a-z0-9_/-]+", key) for key in metric.compute())
