"""Preparing samples: dialogues become tokens with labels, images become the parts' inputs.

Notation: H, W: the vision encoder's input size in pixels; h, w: the image's own size; n: masks; t: tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.answer_checks import check_answer
from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.dialogue import Dialogue
from lasagna.core.geometry import Geometry
from lasagna.core.image_files import decode_image
from lasagna.core.image_places import LAST, place_of
from lasagna.core.image_prompts import prompt_ids
from lasagna.core.processors import FittedImage, Processors, prepare
from lasagna.core.prompt_format import shortened
from lasagna.core.record import Record, Turn
from lasagna.errors import QueryError


@dataclass(frozen=True)
class Row:
    """One dialogue as tokens and mask targets.

    Args:
        dialogue: The dialogue with masks in the image's own size, and with as many of its turns as fit.
        input_ids: Prompt, answer and end token of each turn.
        labels: ``input_ids`` where supervised, else -100.
        mask_positions: Positions of the present tokens, one for each mask. The masks stay in the dialogue, encoded,
            until the batch is collated.
    """

    dialogue: Dialogue
    input_ids: list[int]
    labels: list[int]
    mask_positions: list[int]


@dataclass(frozen=True)
class PreparedSample:
    """One image with its dialogues, ready to be collated.

    Args:
        source: Name of the source.
        key: Key of the record.
        pixels: Input of the vision encoder: a fitted image, or float ``[3, H, W]``.
        geometry: How the image was fitted.
        rows: The dialogues.
        tower_pixels: Input of the language model's own vision tower in the same form, or None.
        image: The original image, uint8 ``[h, w, 3]``, if scores and pictures need it, else None.
        others: Further images that are shown with it, as the input of what the language model reads: its own tower, or
            else the vision encoder.
        place: Position of the image among all.
    """

    source: str
    key: str
    pixels: Tensor | FittedImage
    geometry: Geometry
    rows: tuple[Row, ...]
    tower_pixels: Tensor | FittedImage | None = None
    image: NDArray[np.uint8] | None = None
    others: tuple[Tensor | FittedImage, ...] = ()
    place: int = 0


def prepare_sample(
    image: NDArray[np.uint8],
    dialogues: Sequence[Dialogue],
    processors: Processors,
    *,
    source: str = "",
    key: str = "",
    keep_image: bool = False,
    in_parts: bool = False,
    others: Sequence[NDArray[np.uint8]] = (),
    masks_on: int = LAST,
) -> PreparedSample:
    """Turn an image and its dialogues into tensors.

    Args:
        image: uint8 ``[h, w, 3]``.
        dialogues: The dialogues about it.
        processors: The assistant's processors.
        source: Name of the source.
        key: Key of the record.
        keep_image: Whether to keep the original image.
        in_parts: Whether lists and their answers may exceed the language model's context: they are answered in parts,
            and cannot be used for training.
        others: Further images that are shown with it, in order.
        masks_on: Position of the image among all.

    Raises:
        RecordError: If ``masks_on`` is no position among the images.
        QueryError: If a query is invalid or too long, or the assistant takes one image and there are several. A list in
            parts is too long if one of its names alone is.
    """
    size, count = (image.shape[0], image.shape[1]), len(others) + 1
    geometry = processors.image.geometry(size)
    return PreparedSample(
        source=source,
        key=key,
        pixels=prepare(processors.image, image),
        geometry=geometry,
        rows=tuple(_row(dialogue, processors, in_parts, count, size) for dialogue in dialogues),
        tower_pixels=None if processors.tower is None else prepare(processors.tower, image),
        image=image if keep_image else None,
        others=tuple(prepare(processors.tower or processors.image, other) for other in others),
        place=place_of(masks_on, count, key),
    )


def prepare_record(
    record: Record,
    dialogues: Sequence[Dialogue],
    processors: Processors,
    *,
    source: str = "",
    evaluates: bool = False,
) -> PreparedSample:
    """Turn a record, with all its images, and its dialogues into tensors.

    Args:
        record: The record.
        dialogues: The dialogues about it.
        processors: The assistant's processors.
        source: Name of the source.
        evaluates: Whether the sample is for evaluation: it keeps the original image, and its lists may exceed the
            language model's context.

    Raises:
        RecordError: If the image cannot be decoded, or has another size than the annotations.
        QueryError: If a query is invalid or too long.
    """
    image = decode_image(record.image_bytes, record.key, size=record.size)
    return prepare_sample(
        image,
        dialogues,
        processors,
        source=source,
        key=record.key,
        keep_image=evaluates,
        in_parts=evaluates,
        others=record.other_images(),
        masks_on=record.masks_on,
    )


def _row(dialogue: Dialogue, processors: Processors, in_parts: bool, images: int, size: tuple[int, int]) -> Row:
    prompt_format, text = processors.prompt_format, processors.text
    prompt_format.check(dialogue.kind, dialogue.query)
    check_answer(dialogue, size)
    prompt = prompt_ids(text, prompt_format, dialogue.kind, dialogue.query, dialogue.wording[0], images)
    answer = [*text.answer_ids(prompt_format.answer(dialogue)), text.end_token_id]
    if in_parts and len(dialogue.query) > 1 and len(prompt) + len(answer) > text.max_length:
        # a list can be divided down to single names, each of which must fit
        for name in dialogue.query:
            entries = [entry for entry in dialogue.entries if entry.name == name]
            _row(dialogue.with_answer([name], entries), processors, in_parts=False, images=images, size=size)
    else:
        _check_length(dialogue, len(prompt), len(answer), text.max_length)
    row = Row(
        dialogue=dialogue,
        input_ids=prompt + answer,
        labels=[IGNORE_LABEL] * len(prompt) + answer,
        mask_positions=[len(prompt) + place for place in _present_positions(dialogue, answer, processors)],
    )
    return _with_later_turns(row, processors) if dialogue.later else row


def _with_later_turns(row: Row, processors: Processors) -> Row:
    """Add the later turns of a row's dialogue, as many as the language model takes."""
    input_ids, labels, kept = row.input_ids, row.labels, list[Turn]()
    for turn in row.dialogue.later:
        prompt, words = processors.prompt_format.later(turn)
        question = processors.text.further_ids(prompt)
        answer = [*processors.text.answer_ids(words), processors.text.end_token_id]
        # a turn depends only on earlier ones, so that a conversation without its last turns still makes sense
        if len(input_ids) + len(question) + len(answer) > processors.text.max_length:
            break
        input_ids, labels = input_ids + question + answer, labels + [IGNORE_LABEL] * len(question) + answer
        kept.append(turn)
    return replace(row, dialogue=replace(row.dialogue, later=tuple(kept)), input_ids=input_ids, labels=labels)


def _check_length(dialogue: Dialogue, prompt: int, answer: int, limit: int) -> None:
    if prompt + answer > limit:
        first, count = shortened(dialogue.query[0]), len(dialogue.query)
        asked, less = f"{count} names ({first!r}, ...)", "Ask for fewer names (ClassSampling limits them)"
        if count == 1:
            asked, less = repr(first), "Shorten question or answer, skip such records with `data.broken: skip`,"
        raise QueryError(
            f"query: {asked} make {prompt} tokens and their answer {answer}, together {prompt + answer}; the language "
            f"model takes at most {limit}. {less} or choose a model with a longer context"
        )


def _present_positions(dialogue: Dialogue, answer: list[int], processors: Processors) -> list[int]:
    """Return the positions of the present tokens that have masks; each present entry must have its tokens."""
    if not dialogue.kind.masks:
        return []
    [token] = processors.text.answer_ids(processors.prompt_format.present_token)
    places = [place for place, token_id in enumerate(answer) if token_id == token]
    targets = [target for found in dialogue.targets for target in found]
    assert len(places) == len(targets), f"{len(places)} present tokens for {len(targets)} masks of present entries"
    return [place for place, target in zip(places, targets, strict=True) if target is not None]
