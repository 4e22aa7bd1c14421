"""A sheet of a few records with their annotations drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import numpy as np
from PIL import Image

from lasagna.datamodules.record_codec import decode_record
from lasagna.datamodules.shard_folder import Shard
from lasagna.datamodules.shard_reader import read_shard
from lasagna.datamodules.shard_set import ShardSet
from lasagna.dialogue import AnsweredEntry
from lasagna.errors import LasagnaError
from lasagna.masks import Mask, UnionMask
from lasagna.randomness import generator
from lasagna.record import Question, Record
from lasagna.tasks.case import Case
from lasagna.tasks.contact_sheet import contact_sheet

MOST = 100
"""How many examples a sheet has at most; JPEG knows no more than 65535 rows of pixels."""

QUALITY = 90
"""Of the sheets as JPEG: a third of their size as PNG, lines and letters still crisp."""

SHARDS = 4
"""Of how many shards examples are drawn at least, where there are so many: what stands together often looks alike."""


def draw_examples(shard_set: ShardSet, count: int, seed: int = 0) -> Image.Image | None:
    """Draw random records of a few random shards; the same seed draws the same.

    Of each record something is drawn, its categories, a phrase, a question or its talk; more of it where there are too
    few records.

    Args:
        shard_set: The shards.
        count: How many examples to draw.
        seed: Seed of the choice.

    Returns:
        The sheet, or None if no record can be read or nothing is to be drawn.
    """
    rng = generator(seed, 0, shard_set.manifest.name)
    share = -(-count // min(SHARDS, len(shard_set.shards)))
    examples: list[list[Case]] = []
    for place in rng.permutation(len(shard_set.shards)):
        if len(examples) < count:
            examples += _of_shard(shard_set, shard_set.shards[place], min(share, count - len(examples)), rng)
    cases = [case for case in chain(*zip_longest(*examples)) if case is not None][:count]
    return contact_sheet(cases, side=300) if cases else None


def _of_shard(shard_set: ShardSet, shard: Shard, count: int, rng: np.random.Generator) -> list[list[Case]]:
    wanted = set(rng.permutation(shard.records)[:count].tolist())
    found: list[list[Case]] = []
    try:
        for rank, sample in enumerate(read_shard(shard_set, shard)):
            if rank in wanted:
                found.append(_of_record(decode_record(sample, shard_set.manifest), rng))
            if rank == max(wanted):
                break
    except LasagnaError:
        return found  # the audit says what is wrong with it
    return found


def _of_record(record: Record, rng: np.random.Generator) -> list[Case]:
    """Return an example of each kind of annotation that a record has, in random order."""
    cases = [_categories(record)] if record.category_masks() or record.absent else []
    if record.phrases:
        phrase = record.phrases[rng.integers(len(record.phrases))]
        cases.append(_phrase(record, phrase.text, phrase.masks))
    if record.questions:
        cases.append(_question(record, record.questions[rng.integers(len(record.questions))]))
    if record.talk:
        cases.append(_words(record, record.talk[0].question, record.talk[0].answer))
    return [cases[place] for place in rng.permutation(len(cases))]


def _categories(record: Record) -> Case:
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    present = [AnsweredEntry(name, True, 1.0, mask) for name, mask in masks.items()]
    absent = [AnsweredEntry(name, False, 0.0) for name in record.absent]
    unclear = f" (not asked for: {', '.join(record.unclear)})" if record.unclear else ""
    asked = ", ".join([*masks, *record.absent])
    return Case(record.image(), asked, [*present, *absent], note=record.key + unclear, annotated=True)


def _phrase(record: Record, text: str, masks: Sequence[Mask]) -> Case:
    pixels = UnionMask(tuple(masks), shape=record.size).decode() if masks else None
    entry = AnsweredEntry(text, bool(masks), 1.0, pixels)
    return Case(record.image(), text, [entry], note=record.key, annotated=True)


def _question(record: Record, question: Question) -> Case:
    if question.masks is None:
        return _words(record, question.text, question.answer)
    return _phrase(record, question.text, question.masks)


def _words(record: Record, question: str, answer: str) -> Case:
    return Case(record.image(), question, [], text=answer, note=record.key, annotated=True)
