"""Answers in words: a talk is one row, each answer learned with all before it; explanations stand behind masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.masks import RLEMask
from lasagna.core.processors import Processors
from lasagna.core.prompt_formats import PAPER
from lasagna.core.record import Question, Turn
from lasagna.datamodules import Source, write_shards
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.datamodules.streaming.stream import EvaluationStream
from lasagna.errors import ConfigError, QueryError
from lasagna.tasks import VQA, Reasoning
from lasagna.tasks.evaluation.runs import EvaluationRun
from tests.helpers.data_fakes import END, MANIFEST, FakeImage, FakeText, processors, record

TALK = (Turn("What is there?", "A ball."), Turn("What colour\n is it?", "Blue."), Turn("How many?", "One."))
PIECES = [
    ("USER: <image>\nWhat is there? ASSISTANT: ", False),
    ("A ball.", True),
    ("USER: What colour is it? ASSISTANT: ", False),
    ("Blue.", True),
    ("USER: How many? ASSISTANT: ", False),
    ("One.", True),
]
"""Each text with whether it is supervised."""


def talking(max_length=500):
    return Processors(FakeImage(), FakeText(max_length, special=PAPER.special_tokens), PAPER)


def samples(folder, asked, task=None, conversation=TALK, apart=False):
    write_shards([replace(record(0), conversation=conversation)], folder, MANIFEST)
    source = Source(str(folder), task or VQA())
    maker = SampleMaker(source, (), asked, 0, RecordCounts([source.label], 1), evaluates=apart)
    return list(EvaluationStream(maker))


def expected(turns, text):
    ids, labels = [], []
    for words, supervised in PIECES[: 2 * turns]:
        part = text.prompt_ids(words) if not ids else text.answer_ids(words)
        ids += part + [END] * supervised
        labels += [*part, END] if supervised else [IGNORE_LABEL] * len(part)
    return ids, labels


def test_every_turn_of_a_conversation_is_supervised_in_one_row(tmp_path):
    asked = talking()
    batch = collate(samples(tmp_path, asked), asked)
    ids, labels = expected(3, asked.text)
    assert batch.input_ids.tolist() == [ids]
    assert batch.labels.tolist() == [labels]
    assert batch.samples[0].dialogue.later == TALK[1:]


@pytest.mark.parametrize("short", [1, 40, 60])
def test_turns_that_the_language_model_cannot_take_are_left_out_at_the_end(tmp_path, short):
    whole, two, one = (len(expected(turns, talking().text)[0]) for turns in (3, 2, 1))
    turns = 2 if whole - short >= two else 1
    [sample] = samples(tmp_path, talking(whole - short))
    assert len(sample.rows[0].input_ids) == (two if turns == 2 else one)
    assert sample.rows[0].input_ids == expected(turns, talking().text)[0]
    assert sample.rows[0].dialogue.later == TALK[1:turns]


def test_a_first_turn_that_is_too_long_is_an_error(tmp_path):
    with pytest.raises(QueryError, match="takes at most 20"):
        samples(tmp_path, talking(20))


def test_evaluation_asks_each_turn_by_itself(tmp_path):
    [sample] = samples(tmp_path, talking(), apart=True)
    assert [row.dialogue.query[0] for row in sample.rows] == [turn.question for turn in TALK]
    assert [row.dialogue.text for row in sample.rows] == [turn.answer for turn in TALK]
    assert [row.dialogue.later for row in sample.rows] == [()] * 3


def test_lasagna_evaluate_asks_each_turn_by_itself(tmp_path):
    write_shards([replace(record(0), conversation=TALK)], tmp_path, MANIFEST)
    one = EvaluationRun(Source(str(tmp_path), VQA()), VQA(), (), 0, ("ordered",))
    [asked] = map(one.ask, one.raw())
    assert [(dialogue.query[0], dialogue.later) for dialogue in asked.dialogues] == [
        (turn.question, ()) for turn in TALK
    ]


def test_a_format_of_one_turn_says_how_to_go_on(tmp_path):
    with pytest.raises(QueryError, match=r"next_turn.*turns: apart"):
        samples(tmp_path / "together", processors())
    [sample] = samples(tmp_path / "apart", processors(), VQA(turns="apart"))
    assert len(sample.rows) == 3
    [sample] = samples(tmp_path / "one", processors(), conversation=TALK[:1])
    assert len(sample.rows) == 1


@pytest.mark.parametrize("turn", [Turn("what is <SEG>?", "it"), Turn("what is it?", "a <NEG>")])
def test_no_turn_may_hold_a_token(tmp_path, turn):
    with pytest.raises(QueryError, match=r"<SEG>|<NEG>"):
        samples(tmp_path, talking(), conversation=(TALK[0], turn))


def test_words_behind_a_mask_are_supervised_and_the_mask_is_at_its_token(tmp_path):
    mask = RLEMask.from_array(np.eye(9, 12, dtype=bool))
    asked = (Question("what rolls?", "A ball does.", (mask,)),)
    write_shards([replace(record(0), questions=asked)], tmp_path, MANIFEST)
    source = Source(str(tmp_path), Reasoning(explained=1.0))
    [sample] = EvaluationStream(SampleMaker(source, (), talking(), 0, RecordCounts([source.label], 1)))
    [row], text = sample.rows, talking().text
    prompt = text.prompt_ids(PAPER.prompt("reasoning_with_explanation", ("what rolls?",)))
    answer = [*text.answer_ids("Sure, it is <SEG>. A ball does."), END]
    assert row.input_ids == prompt + answer
    assert row.labels == [IGNORE_LABEL] * len(prompt) + answer
    assert [row.input_ids[place] for place in row.mask_positions] == text.answer_ids("<SEG>")
    assert len(collate([sample], talking()).mask_targets) == 1


def test_a_beginning_of_further_turns_that_cannot_work():
    with pytest.raises(ConfigError, match=r"next_turn: '<image>' contains '<image>'"):
        replace(PAPER, next_turn="<image>")
