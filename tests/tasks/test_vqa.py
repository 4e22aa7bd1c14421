import numpy as np
import pytest

from lasagna.core.answer import Answer
from lasagna.core.batch import Sample
from lasagna.core.record import Question, Turn
from lasagna.tasks import VQA
from tests.helpers.made_records import mask, record

RECORD = record(
    questions=(
        Question("how many dogs are there?", "two"),
        Question("what could one ride?", "the horse", (mask("#...", "...."),)),
        Question("is there a cat?", "no"),
    ),
    conversation=(Turn("what do you see?", "a wide field"),),
)


def test_questions_in_words_and_conversations():
    dialogues = VQA(10).dialogues(RECORD, np.random.default_rng(0))
    assert [(dialogue.kind, dialogue.query, dialogue.text, dialogue.entries) for dialogue in dialogues] == [
        ("question", ("how many dogs are there?",), "two", ()),
        ("question", ("is there a cat?",), "no", ()),
        ("question", ("what do you see?",), "a wide field", ()),
    ]


def test_conversations_can_be_left_out():
    assert len(VQA(10, conversation=False).dialogues(RECORD, np.random.default_rng(0))) == 2


@pytest.mark.parametrize("count", [0, 1, 2])
def test_at_most_so_many(count):
    assert len(VQA(count).dialogues(RECORD, np.random.default_rng(0))) == count


def test_scores():
    task = VQA(conversation=False)
    asked = task.dialogues(RECORD, np.random.default_rng(0))
    metrics = task.metrics(())
    task.score(metrics, [Sample("made", "one", 0, dialogue) for dialogue in asked], [Answer("2."), Answer("yes")])
    scores = metrics.compute()
    assert scores["vqa_accuracy/lasagna-v1"] == 0.5
    assert scores["vqa_accuracy/lasagna-v1/number"] == 1
    assert scores["vqa_accuracy/lasagna-v1/yes-no"] == 0
    assert scores["vqa_accuracy/lasagna-v1/other"].isnan()
