import numpy as np
import pytest

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Sample
from lasagna.core.dialogue import Dialogue
from lasagna.core.record import Question
from lasagna.tasks import Reasoning
from tests.helpers.made_records import mask, record

QUESTIONS = (
    Question("what could one live in?", "the house", (mask("##..", "...."),)),
    Question("how many dogs are there?", "two"),
    Question("what could one ride?", "nothing", ()),
    Question("what grows?", "the plants", (mask("..#.", "...."), mask("....", "...#"))),
)


def dialogues(questions=10, **parts):
    return Reasoning(questions).dialogues(record(questions=QUESTIONS, **parts), np.random.default_rng(0))


def test_only_questions_with_masks():
    house, ride, plants = dialogues()
    assert [dialogue.kind for dialogue in (house, ride, plants)] == ["reasoning"] * 3
    assert house.query == ("what could one live in?",)
    assert plants.entries[0].mask.decode().sum() == 2
    assert (ride.entries[0].present, ride.entries[0].mask) == (False, None)


def test_at_most_so_many():
    assert len(dialogues(2)) == 2


def test_ignored_targets_are_left_out():
    assert len(dialogues(ignore=mask("##..", "...."))) == 2


def test_scores():
    task, asked = Reasoning(), dialogues()[:2]
    claim = np.array([[True, False, False, False], [False] * 4])
    answers = [
        Answer("", (AnsweredEntry(asked[0].query[0], True, 0.9, claim),)),
        Answer("", (AnsweredEntry(asked[1].query[0], False, 0.2),)),
    ]
    metrics = task.metrics(())
    task.score(metrics, [Sample("made", "one", 0, dialogue) for dialogue in asked], answers)
    assert {key: value.item() for key, value in metrics.compute().items()} == {"ciou/lisa": 0.5, "giou/lisa": 0.75}


def kinds(count=400, **options):
    rng, task = np.random.default_rng(0), Reasoning(10, **options)
    found = [dialogue for _ in range(count) for dialogue in task.dialogues(record(questions=QUESTIONS), rng)]
    return found, {
        kind: sum(one.kind == kind for one in found) / len(found) for kind in ("reasoning_with_explanation", "question")
    }


def test_a_share_of_explained_questions_is_answered_in_words_too():
    found, shares = kinds(explained=0.45, in_words=0.1)
    assert abs(shares["reasoning_with_explanation"] - 0.45) < 0.05
    assert abs(shares["question"] - 0.1) < 0.03
    by_kind = {dialogue.kind: dialogue for dialogue in found if dialogue.query == ("what grows?",)}
    assert by_kind["reasoning_with_explanation"].text == by_kind["question"].text == "the plants"
    assert by_kind["reasoning_with_explanation"].entries[0].mask.decode().sum() == 2
    assert by_kind["question"].entries == ()
    assert by_kind["reasoning"].text == ""


def test_questions_without_an_explanation_have_only_masks():
    plain = (Question("what grows?", "", (mask("..#.", "...."),)),)
    [dialogue] = Reasoning(explained=0.5, in_words=0.5).dialogues(record(questions=plain), np.random.default_rng(0))
    assert dialogue.kind == "reasoning"


def test_nothing_is_drawn_for_explanations_unless_they_are_asked_for():
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    Reasoning(10).dialogues(record(questions=QUESTIONS), one)
    other.permutation(3)
    assert one.random() == other.random()


def test_phrases_are_asked_for_as_referring_expressions():
    asked = (
        Question("the plants", "", (mask("..#.", "...."),), "phrase"),
        Question("what grows?", "", (mask("..#.", "...."),), "sentence"),
    )
    found = Reasoning(phrase_kind="phrase").dialogues(record(questions=asked), np.random.default_rng(0))
    assert [dialogue.kind for dialogue in found] == ["referring", "reasoning"]


@pytest.mark.parametrize("shares", [(-0.1, 0.0), (0.0, -0.1), (0.6, 0.5), (float("nan"), 0.0)])
def test_shares_that_cannot_be(shares):
    with pytest.raises(ValueError, match="`explained` and `in_words`"):
        Reasoning(explained=shares[0], in_words=shares[1])


def test_answers_in_only_words_count_in_no_score():
    task, [asked] = Reasoning(in_words=1.0), dialogues(1)
    metrics = task.metrics(())
    worded = Dialogue("question", ("what grows?",), text="the plants")
    answers = [Answer("", (AnsweredEntry(asked.query[0], True, 0.9, asked.entries[0].mask.decode()),)), Answer("no")]
    task.score(metrics, [Sample("made", "one", 0, asked), Sample("made", "one", 0, worded)], answers)
    assert metrics.compute()["giou/lisa"] == 1
