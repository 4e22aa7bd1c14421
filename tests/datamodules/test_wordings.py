"""Questions and answers are worded by the record's own draws or as told, and only where a strategy is on."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.core.dialogue import Dialogue, DialogueMaker, Entry
from lasagna.core.processors import Processors
from lasagna.core.prompt_formats import PAPER, RELEASED, TINY
from lasagna.datamodules import FixedWording, OrderRandomization, RandomWording, Source, write_shards
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.datamodules.streaming.stream import EvaluationStream
from lasagna.errors import ConfigError
from tests.helpers.data_fakes import MANIFEST, FakeImage, FakeText, record

ASKED = (Dialogue("referring", ("it",), (Entry("it", False),)), Dialogue("question", ("what?",), text="it"))


class Asking(DialogueMaker):
    def dialogues(self, record, rng):
        return list(ASKED)


def texts(folder, strategies=(), seed=0, form=RELEASED):
    text = FakeText(2000, special=form.special_tokens)
    source = Source(str(folder), Asking())
    maker = SampleMaker(source, strategies, Processors(FakeImage(), text, form), seed, RecordCounts([source.label], 1))
    return [text.text(row.input_ids[1:]) for sample in EvaluationStream(maker) for row in sample.rows]


def first(form, count):
    return [form.prompt(one.kind, one.query) + form.answer(one) for one in ASKED] * count


def test_wordings_are_drawn_by_seed_and_record_and_left_alone_without_the_strategy(tmp_path):
    write_shards([record(index) for index in range(40)], tmp_path, MANIFEST)
    assert texts(tmp_path) == first(RELEASED, 40)
    found = texts(tmp_path, [RandomWording()])
    assert found == texts(tmp_path, [RandomWording()])
    assert found != texts(tmp_path, [RandomWording()], seed=1)
    assert len({text.partition(" ASSISTANT:")[0] for text in found[::2]}) > 12
    assert len({text.partition(" ASSISTANT:")[2] for text in found[::2]}) > 8
    assert set(found[1::2]) == {first(RELEASED, 1)[1]}
    assert texts(tmp_path, [RandomWording()], form=PAPER) == first(PAPER, 40)


def test_the_other_strategies_keep_the_wording():
    raw = Dialogue("categories", ("a", "b"), (Entry("a", False), Entry("b", False)), wording=(3, 4))
    assert OrderRandomization()(raw, np.random.default_rng(0)).wording == (3, 4)


def test_a_fixed_wording_is_that_of_the_question_as_often_as_told(tmp_path):
    write_shards([record(index) for index in range(40)], tmp_path, MANIFEST)
    second = [RELEASED.prompt(one.kind, one.query, 1) + RELEASED.answer(one) for one in ASKED]
    assert texts(tmp_path, [FixedWording(1)]) == second * 40
    some = texts(tmp_path, [FixedWording(1, probability=0.5)])[::2]
    assert 10 < some.count(second[0]) < 30 and {*some} == {second[0], first(RELEASED, 1)[0]}
    raw = Dialogue("categories", ("a",), (Entry("a", False),), wording=(3, 4))
    assert FixedWording(0)(raw, np.random.default_rng(0)).wording == (0, 4)
    with pytest.raises(ConfigError, match=r"FixedWording: `question` is 1, .* has a single wording; .*further_prompts"):
        texts(tmp_path, [FixedWording(1)], form=TINY)
    for wrong in ({"question": -1}, {"question": 1, "probability": 2}):
        with pytest.raises(ValueError, match="FixedWording: `"):
            FixedWording(**wrong)
