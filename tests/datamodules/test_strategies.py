"""The three strategies do what their definitions say, for every combination of what is asked and what is present."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import LabelMap
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.datamodules import ClassSampling, NegativeInjection, OrderRandomization

MAP = LabelMap(np.arange(64, dtype=np.uint8).reshape(8, 8))
VOCABULARY = [f"name {value}" for value in range(40)]
MANIFEST = Manifest("made", tuple(VOCABULARY))
CLASHING = ["Name  3", "NAME 7", "name 39"]
ELSEWHERE = ["zebra", "harp", "comet", "Harp"]

seeds = st.integers(0, 2**32)


@st.composite
def raw_dialogues(draw):
    names = VOCABULARY[: draw(st.integers(1, len(VOCABULARY)))]
    present = draw(st.sets(st.sampled_from(range(len(names)))))
    entries = tuple(Entry(names[place], True, MAP.mask([place])) for place in sorted(present))
    return Dialogue("categories", tuple(names), entries, ignore=MAP.mask([63]))


def present_masks(dialogue):
    return {entry.name: entry.mask for entry in dialogue.entries if entry.present}


def check_is_part(changed, raw):
    """Whatever a strategy does, present entries keep their masks, absent ones have none, none is answered twice."""
    names = [entry.name for entry in changed.entries]
    assert len(set(names)) == len(names)
    assert len(set(changed.query)) == len(changed.query)
    assert set(names) <= set(changed.query)
    for name, mask in present_masks(changed).items():
        assert mask is present_masks(raw)[name]
    for entry in changed.entries:
        assert entry.present == (entry.name in present_masks(raw))
        assert entry.present or entry.mask is None
    assert changed.ignore is raw.ignore


@given(raw_dialogues(), st.integers(1, 45), seeds)
def test_class_sampling_keeps_the_present_names_and_fills_up_with_absent_ones(raw, limit, seed):
    changed = ClassSampling(limit)(raw, np.random.default_rng(seed))
    check_is_part(changed, raw)
    present = set(present_masks(raw))
    assert len(changed.query) == min(limit, len(raw.query))
    assert len(present & set(changed.query)) == min(limit, len(present))
    assert set(present_masks(changed)) == present & set(changed.query)
    assert list(changed.query) == [name for name in raw.query if name in changed.query]


@given(raw_dialogues(), st.none() | st.integers(0, 45), st.integers(0, 3), seeds)
def test_negative_injection_answers_absent_names(raw, count, extra_count, seed):
    strategy = NegativeInjection(count, ELSEWHERE + CLASHING, extra_count).for_manifest(MANIFEST)
    changed = strategy(raw, np.random.default_rng(seed))
    check_is_part(changed, raw)
    absent = set(raw.query) - set(present_masks(raw))
    negatives = [entry.name for entry in changed.entries if not entry.present]
    extra = changed.query[len(raw.query) :]
    assert changed.query[: len(raw.query)] == raw.query
    assert len(extra) == min(extra_count, 3)
    assert {normalise(name) for name in extra} <= {"zebra", "harp", "comet"}
    assert set(extra) <= set(negatives)
    assert len(negatives) - len(extra) == (len(absent) if count is None else min(count, len(absent)))
    assert set(present_masks(changed)) == set(present_masks(raw))
    order = [changed.query.index(entry.name) for entry in changed.entries]
    assert order == sorted(order)


@given(raw_dialogues(), st.sampled_from(["random", "fixed"]), st.sampled_from(["follow", "own"]), seeds)
def test_order_randomization_changes_only_orders(raw, query, answer, seed):
    changed = OrderRandomization(query, answer)(raw, np.random.default_rng(seed))
    check_is_part(changed, raw)
    assert sorted(changed.query) == sorted(raw.query)
    assert {entry.name for entry in changed.entries} == {entry.name for entry in raw.entries}
    if query == "fixed":
        assert changed.query == raw.query
    if answer == "follow":
        order = [changed.query.index(entry.name) for entry in changed.entries]
        assert order == sorted(order)


@given(
    raw_dialogues(),
    st.none() | st.integers(1, 45),
    st.booleans(),
    st.none() | st.integers(0, 9),
    st.integers(0, 3),
    st.booleans(),
    st.sampled_from(["random", "fixed"]),
    st.sampled_from(["follow", "own"]),
    seeds,
)
def test_every_combination_in_their_order(raw, limit, inject, count, extra_count, reorder, query, answer, seed):
    strategies = [ClassSampling(limit)] if limit else []
    strategies += [NegativeInjection(count, ELSEWHERE, extra_count)] if inject else []
    strategies += [OrderRandomization(query, answer)] if reorder else []
    changed, rng = raw, np.random.default_rng(seed)
    for strategy in strategies:
        changed = strategy(changed, rng)
    check_is_part(changed, raw)
    asked = min(limit or len(raw.query), len(raw.query))
    extra = extra_count if inject else 0
    assert len(changed.query) == asked + extra
    present = min(asked, len(present_masks(raw)))
    assert len(present_masks(changed)) == present
    silent = asked - present
    negatives = len(changed.entries) - present
    assert negatives == ((silent if count is None else min(count, silent)) + extra if inject else 0)


@given(st.sampled_from(["referring", "reasoning", "question"]), seeds)
def test_other_kinds_pass_untouched(kind, seed):
    raw = Dialogue(kind, ("the ball left of the house",), (Entry("the ball left of the house", True, MAP.mask([1])),))
    strategies = [ClassSampling(1), NegativeInjection(None, ELSEWHERE, 2), OrderRandomization("random", "own")]
    for strategy in strategies:
        assert strategy(raw, np.random.default_rng(seed)) is raw


def test_a_name_of_the_query_is_no_extra_name_even_without_the_vocabulary():
    raw = Dialogue("categories", ("Harp", "oak"))
    changed = NegativeInjection(0, ["harp", "zebra"], 2)(raw, np.random.default_rng(0))
    assert changed.query == ("Harp", "oak", "zebra")
    assert changed.entries == (Entry("zebra", False),)


def test_each_absent_name_is_sampled_about_as_often():
    raw = Dialogue("categories", tuple(VOCABULARY[:10]), (Entry("name 0", True, MAP.mask([0])),))
    rng = np.random.default_rng(1)
    asked = [name for _ in range(3000) for name in ClassSampling(4)(raw, rng).query]
    counts = np.array([asked.count(name) for name in raw.query])
    assert counts[0] == 3000
    assert abs(counts[1:] - 1000).max() < 120


def test_lengths_vary_between_the_limits_and_keep_what_is_present():
    raw = Dialogue("categories", tuple(VOCABULARY[:12]), (Entry("name 0", True, MAP.mask([0])),))
    rng = np.random.default_rng(2)
    queries = [ClassSampling(10, least=3)(raw, rng).query for _ in range(400)]
    lengths = [len(query) for query in queries]
    assert set(lengths) == set(range(3, 11))
    assert all("name 0" in query for query in queries)


def test_own_order_differs_from_the_query_and_random_order_from_the_list():
    raw = Dialogue("categories", tuple(VOCABULARY), tuple(Entry(name, False) for name in VOCABULARY))
    followed = OrderRandomization()(raw, np.random.default_rng(0))
    assert followed.query != raw.query
    assert tuple(entry.name for entry in followed.entries) == followed.query
    own = OrderRandomization("fixed", "own")(raw, np.random.default_rng(0))
    assert own.query == raw.query
    assert tuple(entry.name for entry in own.entries) != raw.query


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ClassSampling(0), "`limit`"),
        (lambda: ClassSampling(4, least=5), r"`least` must be from 1 to `limit` \(4\), got 5"),
        (lambda: ClassSampling(4, least=0), "`least`"),
        (lambda: NegativeInjection(-1), "`count`"),
        (lambda: NegativeInjection(None, ["harp"], 2), "`extra_count`"),
        (lambda: OrderRandomization("sorted"), "`query`"),
        (lambda: OrderRandomization("random", "none"), "`answer`"),
    ],
)
def test_arguments_out_of_range_are_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_a_short_list_still_asks_for_all_present_names():
    entries = tuple(Entry(name, True, MAP.mask([place])) for place, name in enumerate(VOCABULARY[:6]))
    raw = Dialogue("categories", tuple(VOCABULARY[:24]), entries)
    rng = np.random.default_rng(3)
    queries = [set(ClassSampling(12, least=2)(raw, rng).query) for _ in range(300)]
    assert all(query >= set(VOCABULARY[:6]) for query in queries)
    assert {len(query) for query in queries} == set(range(6, 13))
    crowded = [ClassSampling(4, least=2)(raw, rng) for _ in range(100)]
    assert {len(dialogue.query) for dialogue in crowded} == {4}
    assert all(len(dialogue.entries) == 4 for dialogue in crowded)


def test_extra_names_are_counted_without_their_doubles():
    with pytest.raises(ValueError, match=r"`extra_count` must be .* the number of different `extra_names`, 1, got 2"):
        NegativeInjection(None, ["zebra", "Zebra"], 2)


def test_too_few_extra_names_for_a_vocabulary_are_reported():
    strategy = NegativeInjection(0, ["dog", "cat"], 2)
    with pytest.warns(UserWarning, match=r"1 of the 2 `extra_names` .* `extra_count` is 2"):
        bound = strategy.for_manifest(Manifest("made", ("dog",)))
    assert bound(Dialogue("categories", ("dog",)), np.random.default_rng(0)).query == ("dog", "cat")


def test_a_strategy_of_another_constructor_keeps_its_own_settings():
    class Two(NegativeInjection):
        def __init__(self, word: str) -> None:
            super().__init__(0, [word, "harp"], 1)
            self.word = word

    bound = Two("dog").for_manifest(Manifest("made", ("dog",)))
    assert (type(bound), bound.word, bound.extra_names) == (Two, "dog", ("harp",))


def test_other_names_of_a_category_are_no_extra_names():
    manifest = Manifest("made", ("person", "car"), aliases={"person": ("Human being", "people"), "car": ("auto",)})
    strategy = NegativeInjection(0, ["people", "AUTO", "human  being", "zebra"], 1).for_manifest(manifest)
    assert strategy.extra_names == ("zebra",)
