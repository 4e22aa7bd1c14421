"""Scores of several targets equal MUSE's rule, worked out by trying every assignment."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask, UnionMask
from lasagna.tasks.metrics import ConceptF1, MultiTargetIoU

SIZE = (4, 5)


def asked_and_answered(rng):
    true, found = ([rng.random(SIZE) < 0.3 for _ in range(rng.integers(0, 4))] for _ in range(2))
    codes = tuple(map(RLEMask.from_array, true))
    union = UnionMask(codes, shape=SIZE) if true else None
    entry = Entry("what", bool(true), union, codes if len(codes) > 1 else ())
    claim = AnsweredEntry("what", bool(found), 0.8, masks=tuple(found), scores=(0.5,) * len(found))
    return true, found, Dialogue("reasoning", ("what",), (entry,)), Answer("", (claim,))


def best(true, found):
    """Pairs of the assignment with the largest summed IoU, the longer side filled up with empty masks."""
    size = max(len(true), len(found))
    empty = np.zeros(SIZE, bool)
    true, found = ([*masks, *[empty] * (size - len(masks))] for masks in (true, found))
    return max(
        ([(one, found[place]) for one, place in zip(true, order, strict=True)] for order in permutations(range(size))),
        key=lambda pairs: sum(iou(*pair) for pair in pairs),
    )


def iou(one, other):
    union = (one | other).sum()
    return (one & other).sum() / union if union else 0.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_targets_are_matched_so_that_the_summed_iou_is_largest(seed, questions):
    rng, metric, pairs = np.random.default_rng(seed), MultiTargetIoU(), []
    for _ in range(questions):
        true, found, asked, answered = asked_and_answered(rng)
        metric.update(asked, answered)
        pairs += best(true, found)
    union = sum((one | other).sum() for one, other in pairs)
    expected = {
        "ciou/muse": sum((one & other).sum() for one, other in pairs) / union if union else np.nan,
        "giou/muse": sum(iou(*pair) for pair in pairs) / len(pairs) if pairs else np.nan,
    }
    found = {key: value.item() for key, value in metric.compute().items()}
    assert found["giou/muse"] == pytest.approx(expected["giou/muse"], nan_ok=True, abs=1e-6)
    # several assignments may be best, and share different numbers of pixels
    assert 0 <= found["ciou/muse"] <= 1 or np.isnan(expected["ciou/muse"])


def test_cumulative_iou_counts_masks_without_a_target_and_targets_without_a_mask():
    left, right = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    left[:, :2], right[:, 3:] = True, True
    codes = (RLEMask.from_array(left), RLEMask.from_array(right))
    entry = Entry("what", True, UnionMask(codes, shape=SIZE), codes)
    one = AnsweredEntry("what", True, 0.8, left)
    both = AnsweredEntry("what", True, 0.8, masks=(right, left), scores=(0.5, 0.6))
    third = AnsweredEntry("what", True, 0.8, masks=(right, left, ~left), scores=(0.5, 0.6, 0.7))
    for claim, ciou, giou in ((one, 8 / 16, 1 / 2), (both, 1, 1), (third, 16 / 28, 2 / 3)):
        metric = MultiTargetIoU()
        metric.update(Dialogue("reasoning", ("what",), (entry,)), Answer("", (claim,)))
        assert [value.item() for value in metric.compute().values()] == pytest.approx([ciou, giou])


def test_of_several_annotators_the_one_who_agrees_best_counts():
    left = np.zeros(SIZE, bool)
    left[:, :2] = True
    drawn = RLEMask.from_array(left)
    for answered in (AnsweredEntry("what", True, 0.8, left), AnsweredEntry("what", False, 0.1)):
        metric = ConceptF1()
        entry = Entry("what", False, annotators=((drawn,), ()))
        metric.update(Dialogue("referring", ("what",), (entry,)), Answer("", (answered,)))
        assert metric.outcomes.tolist() == ([1, 0, 0, 0] if answered.present else [0, 0, 0, 1])
