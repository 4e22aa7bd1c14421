"""The share of names that a presence head decides as the written answer does."""

import math

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue
from lasagna.tasks.metrics import DecisionAgreement
from lasagna.tasks.metrics.agreement import compares


def answer(**present):
    return Answer("", tuple(AnsweredEntry(name, there, 0.5) for name, there in present.items()))


def test_names_are_counted_by_hand():
    metric, dialogue = DecisionAgreement(), Dialogue("categories", ("sun", "dog", "sea"))
    key = "agreement/lasagna-v1/one-pass"
    assert math.isnan(metric.compute()[key])
    metric.update_all(
        [dialogue, Dialogue("question", ("what is it",)), Dialogue("referring", ("the dog",))],
        {
            "ordered": [answer(sun=True, dog=False, sea=True), Answer("a dog"), answer(it=True)],
            "one_pass": [answer(sea=True, sun=False, dog=False), Answer("a dog"), answer(it=False)],
        },
    )
    assert metric.compute() == {key: 2 / 4}


def test_both_ways_of_decoding_are_needed():
    assert compares(("ordered", "free", "one_pass"))
    assert not compares(("free", "one_pass")) and not compares(("ordered", "free"))
