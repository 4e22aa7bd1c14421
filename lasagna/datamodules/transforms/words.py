"""What was said about an image, and which of it still holds after the image was changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from lasagna.core.masks import BoolMask, Mask, RLEMask
from lasagna.core.record import Phrase, Record

PhraseRule = Literal["drop", "whole"]
"""Which phrases stay with a part of the image: none, or those whose objects are all completely in it."""

SIDES = re.compile(r"\b(left|right)", re.IGNORECASE)
"""Finds words about sides, which a mirrored image contradicts."""

HEIGHTS = re.compile(
    r"\b(top|bottom|upper|lower|uppermost|lowermost|highest|lowest|above|below|over|under|beneath|underneath|up|down|"
    r"upside)\b",
    re.IGNORECASE,
)
"""Finds words about above and below, which an image that was turned over contradicts."""

COLOURS = re.compile(
    r"\b(red|orange|yellow|green|blue|purple|violet|pink|brown|beige|golden|silver|black|white|gr[ae]y|"
    r"colou?r(?:ed|ful|s)?)(?:ish)?\b",
    re.IGNORECASE,
)
"""Finds words about colours, which other hues contradict."""


def without_words(record: Record, words: re.Pattern[str]) -> Record:
    """Return a record without the phrases, questions, captions and conversation that use certain words.

    Args:
        record: The record.
        words: Finds the words.
    """
    is_said = any(words.search(f"{turn.question} {turn.answer}") for turn in record.conversation)
    return replace(
        record,
        phrases=tuple(phrase for phrase in record.phrases if not words.search(phrase.text)),
        questions=tuple(item for item in record.questions if not words.search(f"{item.text} {item.answer}")),
        captions=tuple(caption for caption in record.captions if not words.search(caption.text)),
        conversation=() if is_said else record.conversation,
    )


def without_sides(record: Record) -> Record:
    """Return a record for a mirrored image: without words about sides, and with categories such as "left arm" unclear.

    Args:
        record: The record.
    """
    names = dict.fromkeys((*_sided(record.manifest.categories), *_sided(tuple(part.name for part in record.regions))))
    return replace(without_words(record, SIDES), unclear=tuple(dict.fromkeys((*record.unclear, *names))))


@lru_cache(maxsize=64)
def _sided(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if SIDES.search(name))


def of_a_part(record: Record, phrases: Sequence[Phrase] = ()) -> Record:
    """Return a record without what was said about the whole of its image: sides, counts, relations, "the biggest".

    Args:
        record: The record.
        phrases: The phrases that hold for a part too.
    """
    return replace(record, phrases=tuple(phrases), questions=(), captions=(), conversation=())


def whole_phrases(phrases: Iterable[Phrase], seen: BoolMask) -> list[Phrase]:
    """Return the phrases that match nothing, and those whose objects all lie completely in a part of the image.

    Args:
        phrases: The phrases.
        seen: Pixels of the part, ``[H, W]``.
    """
    return [phrase for phrase in phrases if all(_is_whole(mask.decode(), seen) for mask in _drawn(phrase))]


def _drawn(phrase: Phrase) -> list[Mask]:
    """Return the masks of a phrase, by all who drew them."""
    return [mask for masks in (phrase.masks, *phrase.annotators) for mask in masks]


def _is_whole(pixels: BoolMask, seen: BoolMask) -> bool:
    return bool(pixels.any()) and not bool((pixels & ~seen).any())


def without_lost(record: Record, before: Record) -> Record:
    """Return a changed record without what is said about objects that have lost their last pixel.

    Args:
        record: The record after the change, with the same phrases, questions and captions.
        before: The record before it.
    """
    phrases = zip(record.phrases, before.phrases, strict=True)
    questions = zip(record.questions, before.questions, strict=True)
    captions = zip(record.captions, before.captions, strict=True)
    return replace(
        record,
        phrases=tuple(new for new, old in phrases if not _lost(new.masks, old.masks)),
        questions=tuple(new for new, old in questions if not _lost(new.masks or (), old.masks or ())),
        captions=tuple(
            new
            for new, old in captions
            if not any(_lost(now.masks, was.masks) for now, was in zip(new.phrases, old.phrases, strict=True))
        ),
    )


def _lost(now: Sequence[Mask], before: Sequence[Mask]) -> bool:
    return any(not _has_pixels(new) and _has_pixels(old) for new, old in zip(now, before, strict=True))


def _has_pixels(mask: Mask) -> bool:
    return mask.any() if isinstance(mask, RLEMask) else bool(mask.decode().any())
