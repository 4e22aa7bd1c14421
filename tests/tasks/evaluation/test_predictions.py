"""Stored answers give every score again as it was."""

import json

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.errors import RecordError
from lasagna.tasks.evaluation.example_figures import choose
from lasagna.tasks.evaluation.predictions import from_json, to_json
from lasagna.tasks.evaluation.scoring import RankedAnswer, quality
from lasagna.tasks.metrics import MeanIoU, MMSegMeanIoU, Presence, ReferenceMeanIoU, ReferringIoU
from tests.helpers.made_answers import answer, decoded_answer, dialogue, pixels, random_case

NAMES = ("sky", "sea", "dog")
KINDS = [lambda: MeanIoU(NAMES), lambda: ReferenceMeanIoU(NAMES), lambda: MMSegMeanIoU(NAMES), Presence, ReferringIoU]


def through_json(given, size):
    return from_json(json.loads(json.dumps(to_json(given))), size)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_same_to_the_bit(kind):
    live, stored = kind(), kind()
    for seed in range(25):
        asked, given = random_case(np.random.default_rng(seed), NAMES)
        live.update(asked, given)
        stored.update(asked, through_json(given, (5, 6)))
    for name in live._defaults:
        assert (getattr(live, name) == getattr(stored, name)).all()


@settings(max_examples=40)
@drawn(st.integers(0, 2**32), st.booleans())
def test_overlaps_are_scored_by_logits_whatever_their_scale_and_the_order_of_the_answer(seed, coarse):
    """Probabilities of sure masks are all rounded to 1, and equal logits go to the name asked for first."""
    rng = np.random.default_rng(seed)
    logits = dict(zip(NAMES, rng.normal(scale=12, size=(3, 5, 6)).round(0 if coarse else 3), strict=True))
    asked = dialogue(NAMES, {name: rng.random((5, 6)) < 0.5 for name in NAMES}, rng.random((5, 6)) < 0.1)
    order = [NAMES[place] for place in rng.permutation(3)]
    others = [{name: 5 * logit for name, logit in logits.items()}, {name: logits[name] for name in order}]
    best = np.stack([*logits.values(), np.full((5, 6), -1e-6)]).argmax(0)
    for kind in KINDS[:3]:
        plain, metrics = kind(), [kind() for _ in range(5)]
        plain.update(asked, answer({name: best == place for place, name in enumerate(NAMES)}))
        given_answers = [decoded_answer(NAMES, given) for given in (logits, *others)]
        given_answers += [through_json(given, (5, 6)) for given in given_answers[::2]]
        for metric, given in zip(metrics, given_answers, strict=True):
            metric.update(asked, given)
            assert metric.confusion.tolist() == plain.confusion.tolist()


def test_everything_but_probabilities_comes_back():
    given = Answer(
        "sky <SEG>", (AnsweredEntry("sky", True, 0.123456789, pixels("#."), 0.7), AnsweredEntry("sea", False, 0.1))
    )
    back = through_json(given, (1, 2))
    assert (back.text, back.faults) == (given.text, given.faults)
    assert [(one.name, one.present, one.score, one.confidence) for one in back.entries] == [
        ("sky", True, 0.123456789, 0.7),
        ("sea", False, 0.1, 0.0),
    ]
    assert (back.entries[0].mask == pixels("#.")).all() and back.entries[1].mask is None


def test_several_masks_of_a_name_come_back_with_their_scores():
    birds = AnsweredEntry("bird", True, 0.9, masks=(pixels("#.."), pixels("##.")), scores=(0.5, 0.25))
    back = through_json(Answer("", (birds,)), (1, 3)).entries[0]
    assert [mask.tolist() for mask in back.masks] == [mask.tolist() for mask in birds.masks]
    assert (back.scores, back.mask.tolist()) == (birds.scores, birds.mask.tolist())


def test_masks_that_nothing_overlaps_are_stored_once():
    stored = to_json(answer({"sky": pixels("#.."), "sea": pixels(".##"), "dog": pixels("..#")}))
    assert ["top" in entry for entry in stored["entries"]] == [False, True, True]


def test_masks_of_another_size_are_an_error():
    with pytest.raises(RecordError, match="its size is"):
        through_json(answer({"sky": pixels("##")}), (2, 2))


@pytest.mark.parametrize(
    ("asked", "given", "value"),
    [
        (dialogue(NAMES, {"sky": pixels("##")}), answer({"sky": pixels("#.")}), 0.5),
        (dialogue(NAMES, {"sky": pixels("##")}), answer({"sky": pixels("##"), "sea": pixels("##")}), 0.5),
        (dialogue(NAMES, {"sky": pixels("##")}), answer({"sky": pixels("##"), "sea": pixels("..")}), 0.5),
        (dialogue(NAMES, {}), answer({"sky": None}), 1.0),
        (dialogue(NAMES, {"sky": pixels("##")}), answer({}), 0.0),
        (dialogue(["how many?"], {}, kind="question", text="two"), answer({}, text="2"), 1.0),
    ],
)
def test_quality_of_one_answer(asked, given, value):
    assert quality(asked, given) == value


def test_best_median_and_worst_are_three_answers():
    ranked = [RankedAnswer(value / 10, f"r{value}", 0) for value in (5, 9, 1, 3, 7)]
    assert {name: one.key for name, one in choose(ranked).items()} == {"best": "r9", "median": "r5", "worst": "r1"}
    assert list(choose(ranked[:1])) == ["best"] and choose([]) == {}
