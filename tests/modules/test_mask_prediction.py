"""Predictions of several masks, and how they become answers."""

import math

import pytest
import torch

from lasagna.core.answer_parser import ParsedEntry
from lasagna.core.batch import Query
from lasagna.core.geometry import Geometry
from lasagna.modules.decoding.answers import DecodedAnswer, make_answer
from lasagna.modules.mask_prediction import MaskPrediction

SIZE = (2, 3)
GEOMETRY = Geometry(SIZE, SIZE, SIZE)
LOGITS = torch.tensor(
    [
        [[[9.0, -9, -9], [-9, -9, -9]], [[-9, 4, 4], [-9, -9, -9]], [[-9, -9, -9], [9, 9, 9]]],
        [[[-9, -9, -9], [-9, -9, -9]], [[-9, -9, -9], [-9, -9, -9]], [[-9, -9, -9], [9, 9, 9]]],
    ]
)
"""Two names with three masks each."""

SCORES = torch.tensor([[0.6, 0.9, 0.1], [0.9, 0.4, 0.3]])


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def answered(kind, logits=LOGITS, **settings):
    names = ("bird", "cat")
    entries = tuple(ParsedEntry(name, True, rank) for rank, name in enumerate(names))
    decoded = DecodedAnswer("", entries, (), (True, True), torch.tensor([0.5, 1.0]), torch.zeros(2, 1), 1)
    prediction = MaskPrediction(logits, SCORES)
    return make_answer(Query(0, kind, names), decoded, prediction, GEOMETRY, threshold=0.5, **settings)


def test_one_mask_is_the_union_as_it_is():
    logits = torch.randn(4, *SIZE)
    prediction = MaskPrediction.single(logits)
    assert torch.equal(prediction.union, logits)
    assert prediction.scores.tolist() == [[1.0]] * 4
    assert [len(part.union) for part in prediction.split([1, 3])] == [1, 3]


def test_a_mask_adds_no_more_than_its_score_to_the_union():
    union = MaskPrediction(LOGITS, SCORES).union.sigmoid()
    torch.testing.assert_close(union[0], torch.tensor([[0.6, 0.9, 0.9], [0.1, 0.1, 0.1]]))
    assert union[1].max() < 0.5


def test_a_query_for_objects_is_answered_by_each_mask_of_a_sufficient_score():
    birds, cats = answered("instances").entries
    assert [mask.tolist() for mask in birds.masks] == [
        [[False, True, True], [False, False, False]],
        [[True, False, False], [False, False, False]],
    ]
    # times the probability that there are birds, and the mean probability of the mask's pixels
    assert birds.scores == pytest.approx((0.45 * sigmoid(4), 0.3 * sigmoid(9)))
    assert birds.mask.tolist() == [[True, True, True], [False, False, False]]
    assert (cats.present, cats.empty, cats.masks) == (True, True, ())
    assert [entry.present for entry in answered("instances", keep_empty=False).entries] == [True, False]
    assert [len(entry.masks) for entry in answered("instances", object_threshold=0.05).entries] == [3, 1]


def test_a_mask_that_repeats_one_with_a_higher_score_is_no_object():
    logits = LOGITS.clone()
    logits[0, 0] = torch.tensor([[-9, 5.0, -9], [6, -9, -9]])  # half of it lies in the better one
    assert len(answered("instances", logits).entries[0].masks) == 2
    (mask,) = answered("instances", logits, object_overlap=0.5).entries[0].masks
    assert mask.tolist() == [[False, True, True], [False, False, False]]
    logits[0, 0, 1] = 3.0  # the better one lies in it
    assert len(answered("instances", logits).entries[0].masks) == 2
    assert len(answered("instances", logits, object_overlap=0.45).entries[0].masks) == 1


def test_where_each_object_has_a_token_its_mask_and_probability_are_those_of_its_token():
    entries = (ParsedEntry("bird", True, 0, 3), ParsedEntry("sun", False, 3), ParsedEntry("cat", True, 4))
    scores = torch.tensor([0.8, 0.5, 0.9, 0.3, 0.6])
    decoded = DecodedAnswer("", entries, (), (True, True, True, False, True), scores, torch.eye(5), 1)
    assert decoded.mask_states.argmax(1).tolist() == [0, 1, 2, 4]
    query = Query(0, "instances_by_token", ("bird", "sun", "cat"))
    logits = LOGITS.flatten(0, 1)[[0, 1, 0, 5]]  # the third bird repeats the first
    birds, sun, cat = make_answer(query, decoded, logits, GEOMETRY, threshold=0.5).entries
    assert [mask.tolist() for mask in birds.masks] == [(LOGITS[0, rank] > 0).tolist() for rank in (0, 1)]
    assert birds.scores == pytest.approx((0.8 * sigmoid(9), 0.4 * sigmoid(4)))
    assert birds.mask.sum() == 3
    assert (sun.present, cat.scores) == (False, pytest.approx((0.6 * sigmoid(9),)))
    assert [int(mask.sum()) for mask in cat.masks] == [3]
    several = make_answer(query, decoded, logits, GEOMETRY, threshold=0.5, object_overlap=2.0).entries[0]
    assert several.scores == pytest.approx((0.8 * sigmoid(9), 0.4 * sigmoid(4), 0.36 * sigmoid(9)), rel=1e-4)


def test_other_queries_are_answered_by_the_union():
    birds, _ = answered("categories").entries
    assert (birds.apart, birds.scores) == (False, (0.5,))
    assert birds.mask.tolist() == [[True, True, True], [False, False, False]]
