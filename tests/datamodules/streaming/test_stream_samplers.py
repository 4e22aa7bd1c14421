"""A sampler changes how often records come; the stream can still be resumed exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from lasagna.datamodules import OrderRandomization, RecordSampler, RepeatFactors, Source
from lasagna.datamodules.streaming.mixture import Mixture, StreamConfig
from lasagna.datamodules.streaming.progress import Progress, read_progress
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts
from tests.helpers.data_fakes import Listing, processors, write


class Favourite(RecordSampler):
    """Draws one record three times in each pass, and another one every second time."""

    def weights(self, index):
        return np.select([np.array(index.keys) == "r-3", np.array(index.keys) == "r-4"], [3.0, 0.5], 1.0)


def mixture(folder, position=None, sampler=None):
    source = Source(str(folder), Listing(), sampler=sampler or Favourite())
    maker = SampleMaker(source, [OrderRandomization()], processors(), 0, RecordCounts([source.label], 1))
    config = StreamConfig(0, 1, 1, 4, 100.0, {source.label: 1.0}, {source.label: 10})
    return Mixture([maker], config, position=position)


def test_records_come_as_often_as_the_sampler_says_each_time_with_another_dialogue(tmp_path):
    write(tmp_path, 10, per_shard=4)
    samples = list(islice(mixture(tmp_path), 11 * 25))
    counts = Counter(sample.key for sample in samples)
    passes = counts["r-0"]
    assert abs(counts["r-3"] - 3 * passes) <= 3
    assert abs(counts["r-4"] / passes - 0.5) < 0.3
    assert all(abs(counts[f"r-{number}"] - passes) <= 1 for number in (1, 2, 5, 6, 7, 8, 9))
    said = {tuple(sample.rows[0].dialogue.query) for sample in samples[:30] if sample.key == "r-3"}
    assert len(said) > 1


@pytest.mark.parametrize("given", [1, 9, 31])
def test_a_stream_with_a_sampler_continues_from_a_position(tmp_path, given):
    write(tmp_path, 10, per_shard=4)
    whole = mixture(tmp_path)
    begun = list(islice(whole, given))
    rest = list(islice(whole, 25))
    first = mixture(tmp_path)
    assert [sample.key for sample in islice(first, given)] == [sample.key for sample in begun]
    again = list(islice(mixture(tmp_path, first.position), 25))
    assert [sample.key for sample in again] == [sample.key for sample in rest]
    assert [sample.rows[0].dialogue.query for sample in again] == [sample.rows[0].dialogue.query for sample in rest]


def test_a_state_with_another_sampler_is_told(tmp_path):
    config = StreamConfig(0, 1, 1, 4, 100.0, {"made": 1.0}, {"made": 10}, {"made": str(RepeatFactors(0.5))})
    state = Progress(0, 0).state(config)
    assert read_progress(state, config, keep_streams=False)[2] == ""
    other = replace(config, samplers={"made": "None"})
    told = read_progress(state, other, keep_streams=False)[2]
    assert told.startswith("samplers of made was RepeatFactors(threshold=0.5), is None")
