"""Batches hold what the dialogues say: supervised answers, and one mask at each present token."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import IGNORE_PIXEL, fit_mask
from lasagna.core.masks import RLEMask, UnionMask
from lasagna.datamodules import NegativeInjection, OrderRandomization, collate, prepare_sample
from lasagna.errors import QueryError
from lasagna.modules.losses import at_image, at_input
from tests.helpers.data_fakes import END, PADDING, FakeImage, Listing, processors, record

PROCESSORS = processors()
SEG = PROCESSORS.text.answer_ids("<SEG>")[0]


def dialogues_of(item, seed=0):
    [raw] = Listing().dialogues(item, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    listed = OrderRandomization()(NegativeInjection()(raw, rng), rng)
    phrase = Dialogue("referring", ("red ball",), (Entry("red ball", True, raw.entries[0].mask),), ignore=raw.ignore)
    nothing = Dialogue("referring", ("blue ball",), (Entry("blue ball", False),))
    question = Dialogue("question", ("how many balls are there",), text="two")
    return [listed, phrase, nothing, question]


def batch_of(count, **kwargs):
    samples = [
        prepare_sample(item.image(), dialogues_of(item), PROCESSORS, source="s", key=item.key, **kwargs)
        for item in map(record, range(count))
    ]
    return collate(samples, PROCESSORS)


def test_answers_with_their_end_token_are_supervised_and_nothing_else():
    batch = batch_of(2)
    formats, text = PROCESSORS.prompt_format, PROCESSORS.text
    for row, sample in enumerate(batch.samples):
        ids = batch.input_ids[row, : batch.lengths[row]].tolist()
        prompt = text.prompt_ids(formats.prompt(sample.dialogue.kind, sample.dialogue.query))
        answer = [*text.answer_ids(formats.answer(sample.dialogue)), END]
        assert ids == prompt + answer
        assert batch.labels[row, : len(ids)].tolist() == [IGNORE_LABEL] * len(prompt) + answer
        assert set(batch.input_ids[row, len(ids) :].tolist()) <= {PADDING}
        assert set(batch.labels[row, len(ids) :].tolist()) <= {IGNORE_LABEL}
    assert batch.input_ids.shape == batch.labels.shape == (8, int(batch.lengths.max()))
    assert batch.input_ids.dtype == batch.labels.dtype == torch.long


def test_masks_stand_at_the_present_tokens_in_the_order_of_the_entries():
    batch = batch_of(3)
    expected = [
        (row, entry.mask, sample.dialogue.ignore)
        for row, sample in enumerate(batch.samples)
        for entry in sample.dialogue.entries
        if entry.present
    ]
    assert batch.mask_rows.tolist() == [row for row, _, _ in expected]
    assert (batch.input_ids[batch.mask_rows, batch.mask_positions] == SEG).all()
    assert (batch.input_ids == SEG).sum() == len(expected)
    # row by row, and from left to right within a row
    assert sorted(zip(batch.mask_rows.tolist(), batch.mask_positions.tolist(), strict=True)) == list(
        zip(batch.mask_rows.tolist(), batch.mask_positions.tolist(), strict=True)
    )
    for target, (row, mask, ignore) in zip(batch.mask_targets, expected, strict=True):
        geometry = batch.geometries[batch.image_index[row]]
        plain = fit_mask(mask.decode(), geometry)
        if ignore is not None:
            plain[fit_mask(ignore.decode(), geometry) == 1] = IGNORE_PIXEL
        assert torch.equal(target, plain)
        assert (target[:, 12:] == IGNORE_PIXEL).all()


@pytest.mark.parametrize("loss", [at_input, at_image])
def test_where_each_object_has_a_token_its_mask_stands_there(loss):
    masks = np.zeros((4, 16, 12), dtype=bool)
    masks[0, :3, :3], masks[1, 5:9, 2:8], masks[2, 12:, :2], masks[3, 12:, 8:] = True, True, True, True
    one, two, three, void = map(RLEMask.from_array, masks)
    balls = Entry("ball", True, UnionMask((one, two, three), shape=(16, 12)), (one, two), (three,))
    entries = (balls, Entry("oak", False), Entry("sky", True, three, (three,)))
    dialogue = Dialogue("instances_by_token", ("ball", "oak", "sky"), entries, ignore=void)
    image = np.zeros((16, 12, 3), np.uint8)
    batch = collate([prepare_sample(image, [dialogue], PROCESSORS, source="s", key="k")], PROCESSORS)
    assert PROCESSORS.text.text(batch.input_ids[0].tolist()[-40:]).endswith("ball <SEG><SEG> oak <NEG> sky <SEG>")
    assert (batch.input_ids[0, batch.mask_positions] == SEG).all()
    assert batch.mask_positions.tolist() == sorted(set(batch.mask_positions.tolist()))
    [(_, targets)] = loss(torch.zeros(3, 16, 16), batch, "left_out")
    found = targets[:, :, :12].numpy()
    for target, mask, ignored in zip(found, masks[[1, 0, 2]], (masks[2] | masks[3],) * 2 + (masks[3],), strict=True):
        assert np.array_equal(target == 1, mask)
        assert np.array_equal(target == IGNORE_PIXEL, ignored)
    assert batch.object_counts == (0, 0)


def test_rows_know_their_image():
    batch = batch_of(2, keep_image=True)
    assert batch.image_index.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [sample.key for sample in batch.samples] == ["r-0"] * 4 + ["r-1"] * 4
    assert all(np.array_equal(image, record(index).image()) for index, image in enumerate(batch.images))
    assert batch.pixels.shape == (2, 3, 16, 16)
    assert batch_of(2).images == []


@pytest.mark.parametrize("size", [(9, 12), (16, 12), (40, 31), (3, 50)])
def test_a_shared_label_map_gives_the_same_targets_as_each_mask_alone(size):
    item = record(5, size=size)
    [listed] = Listing().dialogues(item, np.random.default_rng(0))
    alone = tuple(replace(entry, mask=RLEMask.from_array(entry.mask.decode())) for entry in listed.entries)
    shared = collate([prepare_sample(item.image(), [listed], PROCESSORS)], PROCESSORS)
    single = collate([prepare_sample(item.image(), [replace(listed, entries=alone)], PROCESSORS)], PROCESSORS)
    assert torch.equal(shared.mask_targets, single.mask_targets)


def test_a_batch_without_masks_has_none():
    item = record(0)
    question = Dialogue("question", ("how many",), text="two")
    batch = collate([prepare_sample(item.image(), [question], PROCESSORS)], PROCESSORS)
    assert batch.mask_targets.shape == (0, 16, 16)
    assert batch.mask_rows.shape == batch.mask_positions.shape == (0,)
    assert batch.mask_rows.dtype == batch.mask_positions.dtype == torch.long


def test_a_present_phrase_that_fits_several_things_has_one_mask_and_an_empty_union_none_of_its_pixels():
    item = record(0)
    parts = tuple(item.category_masks().values())
    both = Entry("things", True, UnionMask(parts[:2], shape=item.size))
    batch = collate(
        [prepare_sample(item.image(), [Dialogue("referring", ("things",), (both,))], PROCESSORS)], PROCESSORS
    )
    assert torch.equal(batch.mask_targets[0], fit_mask(parts[0].decode() | parts[1].decode(), batch.geometries[0]))


def test_a_query_that_is_too_long_names_both_lengths_and_the_limit():
    item = record(0)
    [raw] = Listing().dialogues(item, np.random.default_rng(0))
    with pytest.raises(QueryError, match=r"5 names \('sky', ...\) make \d+ tokens and their answer \d+, .* at most 40"):
        prepare_sample(item.image(), [raw], processors(max_length=40))


def test_a_query_that_cannot_be_asked_is_refused():
    item = record(0)
    with pytest.raises(QueryError, match="query: it is empty"):
        prepare_sample(item.image(), [Dialogue("categories", ())], PROCESSORS)


def test_a_visual_tower_gets_its_own_pixels():
    item = record(0)
    tower = replace(PROCESSORS, tower=FakeImage(8))
    batch = collate([prepare_sample(item.image(), dialogues_of(item), tower)], tower)
    assert batch.tower_pixels is not None and batch.tower_pixels.shape == (1, 3, 8, 8)
    assert batch_of(1).tower_pixels is None
