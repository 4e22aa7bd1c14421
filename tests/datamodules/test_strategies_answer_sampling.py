"""The question lists all names, the answer a part of them, as the original trains."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import LabelMap
from lasagna.datamodules import AnswerSampling, NegativeInjection, OrderRandomization, ShardDataModule, Source, Strategy
from lasagna.errors import ConfigError
from lasagna.tasks import Semantic

MAP = LabelMap(np.zeros((2, 2), dtype=np.uint8))
ORIGINAL = [NegativeInjection(), AnswerSampling(80, (40, 20)), OrderRandomization("random", "own")]


def asked(names, present):
    return Dialogue(
        "categories", tuple(names), tuple(Entry(name, True, MAP.mask([0])) for name in names if name in present)
    )


def changed(dialogue, seed=0, strategies=ORIGINAL):
    rng = np.random.default_rng(seed)
    for strategy in strategies:
        dialogue = strategy(dialogue, rng)
    return dialogue


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 2**32))
def test_how_many_are_answered(count, there, seed):
    names = [f"name {rank}" for rank in range(count)]
    raw = asked(names, set(names[: min(there, count)]))
    found = changed(raw, seed)
    assert sorted(found.query) == sorted(names)
    present = [entry for entry in found.entries if entry.present]
    absent = [entry for entry in found.entries if not entry.present]
    there = len(raw.entries)
    if there < 80:
        assert (len(present), len(absent)) == (there, min(80, count) - there)
    else:
        assert (len(present), len(absent)) == (40, min(20, count - there))
    assert {entry.name for entry in present} <= {entry.name for entry in raw.entries}
    assert all(entry.mask is None for entry in absent)
    assert len({entry.name for entry in found.entries}) == len(found.entries)


def test_question_and_answer_have_orders_of_their_own():
    found = changed(asked([f"name {rank}" for rank in range(150)], {"name 3"}))
    places = [found.query.index(entry.name) for entry in found.entries]
    assert places != sorted(places)
    assert list(found.query) != sorted(found.query, key=lambda name: int(name.split()[1]))


def test_without_numbers_for_a_crowd_present_names_fill_the_answer():
    names = [f"name {rank}" for rank in range(9)]
    found = changed(asked(names, set(names[:5])), strategies=[NegativeInjection(), AnswerSampling(4)])
    assert [entry.present for entry in found.entries] == [True] * 4


def test_each_absent_name_is_answered_about_as_often():
    rng, raw = np.random.default_rng(0), NegativeInjection()(asked("abcdefgh", "a"), np.random.default_rng(0))
    found = [entry.name for _ in range(2000) for entry in AnswerSampling(4)(raw, rng).entries]
    assert found.count("a") == 2000
    assert all(abs(found.count(name) / 2000 - 3 / 7) < 0.05 for name in "bcdefgh")


def test_other_kinds_pass_untouched():
    raw = Dialogue("referring", ("it",), (Entry("it", False),))
    assert AnswerSampling(1)(raw, np.random.default_rng(0)) is raw


@pytest.mark.parametrize(
    ("limit", "crowded", "message"),
    [(0, None, "`limit`"), (4, (-1, 2), "`crowded`"), (4, (3, 2), "`crowded`"), (4, (0, 0), "`crowded`")],
)
def test_numbers_that_cannot_be(limit, crowded, message):
    with pytest.raises(ValueError, match=message):
        AnswerSampling(limit, crowded)


def made(count, there):
    """A record in the form of the original's, whose names have capitals; the answer is in its own order."""
    names = [f"name {rank}" for rank in range(count)]
    answer = names[1::2] + names[::2]
    return {
        "question": f"<semantic>Segment this image.<cat_start> {', '.join(names)} <cat_end>",
        "answer": "".join(f"{name}<{'ins' if name in names[:there] else 'no_ins'}>" for name in answer),
        "positive_classes": [name.title() for name in names[:there]],
        "n_question_categories": count,
        "n_answer_categories": count,
    }


@pytest.mark.shared
@pytest.mark.parametrize("source", ["stored", "made"])
def test_the_same_numbers_as_the_original(source, request):
    if source == "stored":
        file = request.getfixturevalue("shared") / "golden" / "data" / "grammar.json"
        if not file.is_file():
            pytest.skip("the original's dialogues are not in this copy of shared/golden")
        records = json.loads(file.read_text(encoding="utf-8"))["semantic"]
    else:
        records = [made(19, 4), made(80, 7)]
    assert records
    for record in records:
        names = record["question"].partition("<cat_start> ")[2].removesuffix(" <cat_end>").split(", ")
        parts = record["answer"].replace("<no_ins>", "<ins>").split("<ins>")[:-1]
        # question and answer are written small; a present name may be spelt otherwise in the question
        present = {name.lower() for name in record["positive_classes"]} & set(names)
        found = changed(asked(names, present))
        assert len(found.query) == len(names) == record["n_question_categories"]
        assert len(found.entries) == len(parts) == record["n_answer_categories"]
        assert present
        assert {entry.name for entry in found.entries if entry.present} == present
        # neither answer follows its question
        for query, answer in ((names, parts), (found.query, [entry.name for entry in found.entries])):
            places = [query.index(name) for name in answer if name in query]
            assert places != sorted(places)


class OwnNegatives(Strategy):
    """A strategy of a user's own that answers absent names."""

    answers_absent = True

    def __call__(self, dialogue, rng):
        return dialogue


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"strategies": [AnswerSampling(4), NegativeInjection()]},
            r"data.strategies: .* after it would call them absent",
        ),
        (
            {"strategies": [AnswerSampling(4), OwnNegatives()]},
            "OwnNegatives after it would call them absent",
        ),
        ({"evaluation_strategies": ORIGINAL}, "data.evaluation_strategies: .* scores would take them for absent"),
        (
            {"train": [Source("s", Semantic(), strategies=[AnswerSampling(4), NegativeInjection()])]},
            "`strategies` of s: ",
        ),
        (
            {"test": [Source("s", Semantic(), strategies=ORIGINAL)]},
            "data.test: `strategies` of s: .* only in training",
        ),
    ],
)
def test_nothing_that_is_there_may_be_called_absent(settings, told):
    with pytest.raises(ConfigError, match=told):
        ShardDataModule(**settings)
    ShardDataModule(strategies=ORIGINAL, train=[Source("s", Semantic(), strategies=ORIGINAL)])
