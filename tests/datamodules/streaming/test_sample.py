"""Whatever is annotated and whatever the strategies do, nothing is said of a picture that is not known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.masks import RLEMask
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules import AnswerSampling, ClassSampling, NegativeInjection, OrderRandomization, Source
from lasagna.datamodules.shards.reader import read_shard
from lasagna.datamodules.streaming.sample import SampleMaker, ask_record
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.datamodules.transforms.geometric import RandomCrop
from lasagna.errors import ConfigError
from lasagna.tasks import Semantic
from tests.helpers.data_fakes import png, processors, write

NAMES = tuple(f"name {rank}" for rank in range(9))
SPELLED = st.sampled_from([*NAMES, *map(str.upper, NAMES), "elsewhere"])
EXTRA = ("zebra", "NAME 3", "alias 4")
SIZE = (6, 8)
IMAGE = png(np.zeros((*SIZE, 3), np.uint8))

seeds = st.integers(0, 2**32)
pixels = st.integers(0, 2 ** (SIZE[0] * SIZE[1]) - 1)


def mask(number):
    bits = [number >> place & 1 for place in range(SIZE[0] * SIZE[1])]
    return RLEMask.from_array(np.array(bits, dtype=bool).reshape(SIZE))


@st.composite
def records(draw):
    unannotated = draw(st.sampled_from(["absent", "unknown"]))
    manifest = Manifest("made", NAMES, unannotated=unannotated, aliases={"name 4": ("alias 4",)})
    regions = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.just(0) | pixels), max_size=6))
    return Record(
        "one",
        IMAGE,
        SIZE,
        manifest,
        regions=tuple(Region(name, mask(number)) for name, number in regions),
        absent=tuple(draw(st.lists(SPELLED, max_size=4))),
        unclear=tuple(draw(st.lists(SPELLED, max_size=3))),
        ignore=draw(st.none() | pixels.map(mask)),
    )


@st.composite
def all_strategies(draw):
    """Strategies as training has them, each in or out."""
    limits = st.integers(1, 12)
    listed = [
        ClassSampling(draw(limits)),
        NegativeInjection(draw(st.none() | st.integers(0, 9)), EXTRA, draw(st.integers(0, 1))),
        AnswerSampling(draw(limits)),
        OrderRandomization(draw(st.sampled_from(["random", "fixed"])), draw(st.sampled_from(["follow", "own"]))),
    ]
    return [strategy for strategy in listed if draw(st.booleans())]


def dialogues(record, strategies, seed):
    rng = np.random.default_rng(seed)
    for dialogue in Semantic().dialogues(record, rng):
        for strategy in strategies:
            dialogue = strategy.for_manifest(record.manifest)(dialogue, rng)
        yield dialogue


def check(record, dialogue):
    forms = set(map(normalise, dialogue.query))
    assert len(forms) == len(dialogue.query)
    assert not forms & set(map(normalise, record.unclear))
    masks = record.category_masks()
    ignored = np.zeros(record.size, bool) if record.ignore is None else record.ignore.decode()
    annotated, verified = set(map(normalise, masks)), set(map(normalise, record.absent))
    for entry in dialogue.entries:
        if entry.present:
            assert (masks[entry.name].decode() & ~ignored).any()
        elif entry.name != "zebra":
            assert normalise(entry.name) not in annotated
            known = record.manifest.unannotated == "absent" and entry.name in NAMES
            assert known or normalise(entry.name) in verified


@given(records(), all_strategies(), seeds)
def test_only_what_is_known_is_said(record, strategies, seed):
    for dialogue in dialogues(record, strategies, seed):
        check(record, dialogue)


@given(records(), all_strategies(), seeds)
def test_only_what_is_known_is_said_of_a_crop(record, strategies, seed):
    crop = RandomCrop(scale=(0.1, 0.6))(record, np.random.default_rng(seed))
    assert set(record.unclear) <= set(crop.unclear)
    for dialogue in dialogues(crop, strategies, seed):
        check(crop, dialogue)
        # where "not annotated" means unknown, a crop tells no more than its record did
        seen = {*record.category_masks(), *record.absent, "zebra"}
        assert record.manifest.unannotated == "absent" or {entry.name for entry in dialogue.entries} <= seen


@given(records(), st.integers(1, 12), seeds)
def test_the_answer_follows_the_question(record, limit, seed):
    for dialogue in dialogues(record, [ClassSampling(limit), NegativeInjection(), OrderRandomization()], seed):
        assert tuple(entry.name for entry in dialogue.entries) == dialogue.query


@pytest.mark.parametrize("returned", [None, "no list", ["no dialogue"], [None]])
def test_a_task_that_returns_something_else_is_named(tmp_path, returned):
    class Odd(Semantic):
        def dialogues(self, record, rng):
            return returned

    source = Source(str(write(tmp_path, 1).folder), Odd(), name="here")
    [shard] = source.shard_set.shards
    [raw] = read_shard(source.shard_set, shard)
    with pytest.raises(ConfigError, match=r"source here: `dialogues` of Odd returned .*; return a list of Dialogue"):
        ask_record(raw, source, lambda dialogue, rng: dialogue, seed=0)


def test_a_dialogue_is_a_function_of_seed_beginning_key_and_pass(tmp_path):
    source = Source(str(write(tmp_path, 4).folder), Semantic())
    [shard] = source.shard_set.shards
    raws = list(read_shard(source.shard_set, shard))

    def asked(raw, seed=0, began=0, visit=0):
        strategies = [ClassSampling(4), NegativeInjection(), OrderRandomization()]
        sample = SampleMaker(source, strategies, processors(), seed, RecordCounts([source.label], 1))(raw, began, visit)
        return [
            (row.dialogue.query, [(entry.name, entry.present) for entry in row.dialogue.entries]) for row in sample.rows
        ]

    first = [asked(raw) for raw in raws]
    assert [asked(raw) for raw in reversed(raws)] == first[::-1]
    for other in ({"seed": 1}, {"began": 1}, {"visit": 1}):
        assert [asked(raw, **other) for raw in raws] != first
    others = [{**raw, "json": raw["json"].replace(b"r-", b"other-")} for raw in raws]
    assert [asked(raw) for raw in others] != first
