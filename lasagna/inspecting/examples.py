"""A sheet of a few records with their annotations drawn over them."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from lasagna.datamodules.record_codec import decode_record
from lasagna.datamodules.shard_reader import read_shard
from lasagna.datamodules.shard_set import ShardSet
from lasagna.dialogue import AnsweredEntry
from lasagna.errors import LasagnaError
from lasagna.masks import UnionMask
from lasagna.randomness import generator
from lasagna.record import Record
from lasagna.tasks.case import Case
from lasagna.tasks.contact_sheet import contact_sheet


def draw_examples(shard_set: ShardSet, count: int, seed: int = 0) -> Image.Image | None:
    """Draw records of a random shard, or of several if one has too few; the same seed draws the same.

    Args:
        shard_set: The shards.
        count: How many cases to draw.
        seed: Seed of the choice.

    Returns:
        The sheet, or None if no record can be read.
    """
    order = generator(seed, 0, str(shard_set.manifest.name)).permutation(len(shard_set.shards))
    cases: list[Case] = []
    for place in order:
        cases += _cases(shard_set, int(place), count - len(cases))
        if len(cases) >= count:
            break
    return contact_sheet(cases[:count], side=300) if cases else None


def _cases(shard_set: ShardSet, place: int, count: int) -> list[Case]:
    found: list[Case] = []
    try:
        for sample in read_shard(shard_set, shard_set.shards[place]):
            found += list(_cases_of(decode_record(sample, shard_set.manifest)))[:2]
            if len(found) >= count:
                break
    except LasagnaError:
        return found  # the audit says what is wrong with it
    return found


def _cases_of(record: Record) -> Iterator[Case]:
    image = record.image()
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    if masks or record.absent:
        present = [AnsweredEntry(name, True, 1.0, mask) for name, mask in masks.items()]
        absent = [AnsweredEntry(name, False, 0.0) for name in record.absent]
        yield Case(image, ", ".join([*masks, *record.absent]), [*present, *absent], note=record.key)
    for phrase in record.phrases:
        mask = UnionMask(phrase.masks, shape=record.size).decode()
        entry = AnsweredEntry(phrase.text, bool(phrase.masks), 1.0, mask if phrase.masks else None)
        yield Case(image, phrase.text, [entry], note=record.key)
    for question in record.questions:
        if question.masks is None:
            yield Case(image, question.text, [], text=question.answer, note=record.key)
        else:
            mask = UnionMask(question.masks, shape=record.size).decode()
            entry = AnsweredEntry(question.text, bool(question.masks), 1.0, mask if question.masks else None)
            yield Case(image, question.text, [entry], note=record.key)
    for turn in record.talk[:1]:
        yield Case(image, turn.question, [], text=turn.answer, note=record.key)
