"""Examples of the records of shards, drawn as a sheet: which records, and what is shown of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest

import numpy as np
from PIL import Image

from lasagna.core.answer import AnsweredEntry
from lasagna.core.masks import BoolMask, Mask, UnionMask
from lasagna.core.record import Caption, Record, Region
from lasagna.core.seeding import generator
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import RawSample
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet

SHARDS = 4
"""Minimum number of shards to draw examples from, if there are as many: neighbouring records often look alike."""


def choose_examples(shard_set: ShardSet, count: int, seed: int = 0) -> dict[str, list[int]]:
    """Choose random records of a few random shards; the same seed chooses the same ones.

    Args:
        shard_set: The shards.
        count: Number of examples.
        seed: Seed of the choice.

    Returns:
        The ranks of the chosen records by the files of their shards, in the order to show them.
    """
    rng = generator(seed, 0, shard_set.manifest.name)
    share, left = -(-count // min(SHARDS, len(shard_set.shards))), count
    chosen: dict[str, list[int]] = {}
    for place in rng.permutation(len(shard_set.shards)):
        shard = shard_set.shards[place]
        ranks = rng.permutation(shard.records)[: min(share, left)].tolist()
        if ranks:
            chosen[shard.file] = ranks
        left -= len(ranks)
    return chosen


def draw_examples(
    shard_set: ShardSet,
    chosen: Mapping[str, Sequence[int]],
    samples: Mapping[tuple[str, int], RawSample],
    count: int,
    seed: int = 0,
) -> Image.Image | None:
    """Draw examples of the chosen records.

    The first example of each record shows its categories, a phrase, a question or its conversation; further ones follow
    if there are too few records.

    Args:
        shard_set: The shards.
        chosen: The ranks of the records by the files of their shards.
        samples: Those of them that could be read.
        count: Number of examples.
        seed: Seed of the choice among what a record holds.

    Returns:
        The sheet, or None if there is nothing to draw.
    """
    rng = generator(seed, 1, shard_set.manifest.name)
    places = [(file, rank) for file, ranks in chosen.items() for rank in ranks]
    records = [decode_record(samples[place], shard_set.manifest) for place in places if place in samples]
    by_record = [_record_examples(record, rng) for record in records]
    examples = [example for example in chain(*zip_longest(*by_record)) if example is not None][:count]
    return contact_sheet(examples, side=300) if examples else None


def _record_examples(record: Record, rng: np.random.Generator) -> list[Example]:
    """Return an example of each kind of annotation that a record has, in random order."""
    examples = [_categories(record)] if record.category_masks() or record.absent else []
    if record.phrases:
        phrase = record.phrases[rng.integers(len(record.phrases))]
        examples.append(_phrase(record, phrase.text, phrase.masks))
    if record.questions:
        question = record.questions[rng.integers(len(record.questions))]
        if question.masks is None:
            examples.append(_words(record, question.text, question.answer))
        else:
            examples.append(_phrase(record, question.text, question.masks))
    if record.captions:
        examples.append(_caption(record, record.captions[rng.integers(len(record.captions))]))
    if record.conversation:
        examples.append(_words(record, record.conversation[0].question, record.conversation[0].answer))
    return [examples[rank] for rank in rng.permutation(len(examples))]


def _categories(record: Record) -> Example:
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    objects = record.objects()
    present = [_entry(name, mask, objects.get(name)) for name, mask in masks.items()]
    absent = [AnsweredEntry(name, False, 0.0) for name in record.absent]
    unclear = f" (not asked for: {', '.join(record.unclear)})" if record.unclear else ""
    query = ", ".join([*masks, *record.absent])
    return Example(record.image(), query, [*present, *absent], note=record.key + unclear, annotated=True)


def _entry(name: str, mask: BoolMask, objects: Region | None) -> AnsweredEntry:
    parts = () if objects is None else (*(objects.masks or ()), *objects.crowds)
    apart = tuple(part.decode() for part in parts)
    return AnsweredEntry(name, True, 1.0, mask, masks=apart, scores=(1.0,) * len(apart))


def _phrase(record: Record, text: str, masks: Sequence[Mask]) -> Example:
    pixels = UnionMask(tuple(masks), shape=record.size).decode() if masks else None
    entry = AnsweredEntry(text, bool(masks), 1.0, pixels)
    return Example(record.image(), text, [entry], note=record.key, annotated=True)


def _caption(record: Record, caption: Caption) -> Example:
    union = [UnionMask(phrase.masks, shape=record.size).decode() for phrase in caption.phrases]
    entries = [
        AnsweredEntry(caption.words_of(phrase), True, 1.0, mask, span=phrase.span)
        for phrase, mask in zip(caption.phrases, union, strict=True)
    ]
    return Example(record.image(), "", entries, text=caption.text, note=record.key, annotated=True)


def _words(record: Record, question: str, answer: str) -> Example:
    return Example(record.image(), question, [], text=answer, note=record.key, annotated=True)
