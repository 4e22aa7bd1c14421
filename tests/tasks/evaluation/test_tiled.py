"""Evaluation of large pictures tile by tile."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.core.annotations import Region
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record
from lasagna.core.tiles import Tiles
from lasagna.datamodules import Source, write_shards
from lasagna.errors import ConfigError
from lasagna.tasks import Instances, Semantic
from lasagna.tasks.evaluation.answering import answer_some
from lasagna.tasks.evaluation.predictions import from_json
from lasagna.tasks.evaluation.runs import EvaluationRun
from lasagna.tasks.evaluation.tiled import answer_tiled, check_tiled_runs, make_tiled
from lasagna.tasks.vqa import VQA
from tests.helpers.assistants import random_assistant
from tests.helpers.made_records import png

SIZE = (40, 56)
MANIFEST = Manifest("large", ("sun", "dog", "sea"))


@pytest.fixture(scope="module")
def assistant():
    made = random_assistant()
    made.presence_threshold = 0.3
    return made


@pytest.fixture
def run_of(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    mask = np.zeros(SIZE, bool)
    mask[5:20, 10:30] = True
    region = Region.of_objects("sun", [RLEMask.from_array(mask)])
    records = [Record(f"{key}", png(pixels), SIZE, MANIFEST, regions=(region,)) for key in "ab"]
    write_shards(records, tmp_path / "test", MANIFEST)

    def run(task):
        source = Source(shards=str(tmp_path / "test"), task=task)
        return EvaluationRun(source, task, (), seed=0, decodings=("ordered",))

    return run


def lines_of(run, assistant, tiles):
    samples = [make_tiled(raw, run, assistant) for raw in run.raw()]
    return [answer_tiled(assistant, run, sample, tiles) for sample in samples]


def test_one_tile_gives_the_lines_of_the_whole_picture(run_of, assistant):
    run = run_of(Semantic())
    samples = [run.prepare(raw, assistant.processors) for raw in run.raw()]
    plain, tiled = answer_some(assistant, run, samples), lines_of(run, assistant, Tiles(64, 8))
    assert [line["key"] for line in tiled] == ["a", "b"]
    for one, other in zip(plain, tiled, strict=True):
        for dialogues in (one["dialogues"], other["dialogues"]):
            dialogues[0]["answers"]["ordered"].pop("text")
            for entry in dialogues[0]["answers"]["ordered"]["entries"]:
                entry["score"], entry["confidence"] = round(entry["score"], 4), round(entry["confidence"], 4)
        assert one == other


def test_answers_in_tiles_are_stored_and_scored_as_others_are(run_of, assistant):
    for task in (Semantic(), Instances()):
        run = run_of(task)
        for line in lines_of(run, assistant, Tiles(40, 16)):
            [dialogue] = line["dialogues"]
            answer = from_json(dialogue["answers"]["ordered"], SIZE)
            assert [entry.name for entry in answer.entries] == list(dialogue["query"])
            assert answer.label_map(dialogue["query"], SIZE).shape == SIZE


def test_tasks_that_ask_for_words_are_refused_before_the_first_answer(run_of):
    check_tiled_runs([run_of(Semantic())])
    with pytest.raises(ConfigError, match=r"tiles: the source large-vqa asks for words \(question\), which cannot"):
        check_tiled_runs([run_of(VQA())])
