import numpy as np
from made_records import mask, record

from lasagna.batch import Sample
from lasagna.dialogue import Answer, AnsweredEntry
from lasagna.record import Question
from lasagna.tasks import Reasoning

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
