import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Sample
from lasagna.core.record import Phrase
from lasagna.core.seeding import generator
from lasagna.tasks import Reasoning, Referring
from tests.helpers.made_records import mask, record

PHRASES = (
    Phrase("the ball", (mask("#...", "...."),)),
    Phrase("everything red", (mask("#...", "...."), mask("...#", "...#"))),
    Phrase("the unicorn", ()),
    Phrase("the far hill", (mask(".#..", "...."),)),
)


def dialogues(made, phrases=10, seed=0):
    return Referring(phrases).dialogues(made, generator(seed, 0, made.key))


def test_none_one_and_many():
    ball, red, unicorn, _ = dialogues(record(phrases=PHRASES))
    assert [dialogue.kind for dialogue in (ball, red, unicorn)] == ["referring"] * 3
    assert ball.query == ("the ball",)
    assert red.entries[0].present
    assert red.entries[0].mask.decode().tolist() == [[True, False, False, True], [False, False, False, True]]
    assert (unicorn.entries[0].present, unicorn.entries[0].mask) == (False, None)


@given(st.integers(0, 50), st.integers(0, 6))
def test_random_phrases_each_once_and_the_same_for_the_same_generator(seed, count):
    made = record(phrases=PHRASES)
    chosen = [dialogue.query[0] for dialogue in dialogues(made, count, seed)]
    assert len(chosen) == len(set(chosen)) == min(count, len(PHRASES))
    assert set(chosen) <= {phrase.text for phrase in PHRASES}
    assert chosen == [dialogue.query[0] for dialogue in dialogues(made, count, seed)]


def test_every_phrase_has_its_turn():
    made = record(phrases=PHRASES)
    assert {dialogues(made, 1, seed)[0].query[0] for seed in range(60)} == {phrase.text for phrase in PHRASES}


def test_phrases_of_only_ignored_pixels_are_left_out():
    left = dialogues(record(phrases=PHRASES, ignore=mask(".#..", "....")))
    assert [dialogue.query[0] for dialogue in left] == ["the ball", "everything red", "the unicorn"]
    assert left[0].ignore.decode().sum() == 1


def test_a_phrase_with_an_empty_mask_is_not_asked_for():
    assert dialogues(record(phrases=(Phrase("the crumb", (mask("....", "...."),)),))) == []


def test_a_record_without_phrases_has_no_dialogue():
    assert dialogues(record()) == []


def test_scores():
    task, asked = Referring(), dialogues(record(phrases=PHRASES))[:3]
    half = np.array([[True, False, False, False], [False] * 4])
    answers = [
        Answer("", (AnsweredEntry("the ball", True, 0.9, half),)),
        Answer("", (AnsweredEntry("everything red", True, 0.9, half),)),
        Answer("", (AnsweredEntry("the unicorn", False, 0.1),)),
    ]
    metrics = task.metrics(())
    task.score(metrics, [Sample("made", "one", 0, dialogue) for dialogue in asked], answers)
    scores = {key: round(value.item(), 4) for key, value in metrics.compute().items()}
    assert scores == {
        "ciou/grefcoco": 0.5,
        "giou/grefcoco": round((1 + 1 / 3 + 1) / 3, 4),
        "giou/grefcoco/targets": round((1 + 1 / 3) / 2, 4),
        "n_acc/grefcoco": 1.0,
        "t_acc/grefcoco": 1.0,
    }


@pytest.mark.parametrize(("task", "own"), [(Referring, "grefcoco"), (Reasoning, "lisa")])
def test_given_answers_are_scored_where_asked_for(task, own):
    assert task().decoding == ("ordered",)
    asked = task(teacher_forced=True)
    assert asked.decoding == ("ordered", "teacher_forced")
    protocols = [{metric.protocol for metric in one.metrics(()).values()} for one in (task(), asked)]
    assert protocols == [{own}, {own, "teacher-forced"}]
