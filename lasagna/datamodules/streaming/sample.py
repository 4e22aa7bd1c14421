"""From a record's dialogues to tokens with labels, and from its image to the parts' inputs.

Notation: H, W: the vision encoder's input size in pixels; h, w: the image's own size; n: masks; t: tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.dialogue import Dialogue
from lasagna.core.geometry import Geometry
from lasagna.core.processors import FittedImage, Processors, prepare
from lasagna.core.record import Record, Turn, check_size, decode_image
from lasagna.core.seeding import generator
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.reader import RawSample, worker
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.errors import QueryError, RecordError


@dataclass(frozen=True)
class Row:
    """One dialogue as tokens and mask targets.

    Args:
        dialogue: The dialogue with its masks in the image's own size, and with as many of its rounds as fit.
        input_ids: Prompt, answer and end token of each round.
        labels: ``input_ids`` where supervised, else -100.
        mask_positions: Positions of the present tokens, one a mask; the masks themselves stay in the dialogue, compact,
            until the batch is put together.
    """

    dialogue: Dialogue
    input_ids: list[int]
    labels: list[int]
    mask_positions: list[int]


@dataclass(frozen=True)
class PreparedSample:
    """One image with its dialogues, ready to be put into a batch.

    Args:
        source: Name of the source.
        key: Key of the record.
        pixels: Input of the vision encoder: a fitted image, or float ``[3, H, W]``.
        geometry: How the image was fitted.
        rows: The dialogues.
        tower_pixels: Input of the language model's own visual tower, likewise, or None.
        image: The image as it was, uint8 ``[h, w, 3]``, where scores and pictures need it, else None.
    """

    source: str
    key: str
    pixels: Tensor | FittedImage
    geometry: Geometry
    rows: tuple[Row, ...]
    tower_pixels: Tensor | FittedImage | None = None
    image: NDArray[np.uint8] | None = None


def prepare_sample(
    image: NDArray[np.uint8],
    dialogues: Sequence[Dialogue],
    processors: Processors,
    *,
    source: str = "",
    key: str = "",
    keep_image: bool = False,
    in_parts: bool = False,
) -> PreparedSample:
    """Turn an image and its dialogues into tensors.

    Args:
        image: uint8 ``[h, w, 3]``.
        dialogues: The dialogues about it.
        processors: How the assistant wants images and text.
        source: Name of the source.
        key: Key of the record.
        keep_image: Whether to keep the image as it was.
        in_parts: Whether lists may be longer with their answers than the language model takes: they are answered in
            parts, and cannot be trained on.

    Raises:
        QueryError: If a query cannot be asked, or is too long, as is a list of which a single name is.
    """
    geometry = processors.image.geometry((image.shape[0], image.shape[1]))
    return PreparedSample(
        source=source,
        key=key,
        pixels=prepare(processors.image, image),
        geometry=geometry,
        rows=tuple(_row(dialogue, processors, in_parts) for dialogue in dialogues),
        tower_pixels=None if processors.tower is None else prepare(processors.tower, image),
        image=image if keep_image else None,
    )


def _row(dialogue: Dialogue, processors: Processors, in_parts: bool) -> Row:
    prompt_format, text = processors.prompt_format, processors.text
    prompt_format.check(dialogue.kind, dialogue.query)
    prompt = text.prompt_ids(prompt_format.prompt(dialogue.kind, dialogue.query, dialogue.wording[0]))
    answer = [*text.answer_ids(prompt_format.answer(dialogue)), text.end_token_id]
    if in_parts and len(dialogue.query) > 1 and len(prompt) + len(answer) > text.max_length:
        _check_parts(dialogue, processors)
    else:
        _check_length(dialogue, len(prompt), len(answer), text.max_length)
    row = Row(
        dialogue=dialogue,
        input_ids=prompt + answer,
        labels=[IGNORE_LABEL] * len(prompt) + answer,
        mask_positions=[len(prompt) + place for place in _present_positions(dialogue, answer, processors)],
    )
    return _with_later_rounds(row, processors) if dialogue.later else row


def _with_later_rounds(row: Row, processors: Processors) -> Row:
    """Add the later rounds of a row's dialogue, as many as the language model takes."""
    input_ids, labels, kept = row.input_ids, row.labels, list[Turn]()
    for turn in row.dialogue.later:
        prompt, words = processors.prompt_format.later(turn)
        asked = processors.text.further_ids(prompt)
        told = [*processors.text.answer_ids(words), processors.text.end_token_id]
        # a round leans on those before it alone, so that a talk without its last ones still makes sense
        if len(input_ids) + len(asked) + len(told) > processors.text.max_length:
            break
        input_ids, labels = input_ids + asked + told, labels + [IGNORE_LABEL] * len(asked) + told
        kept.append(turn)
    return replace(row, dialogue=replace(row.dialogue, later=tuple(kept)), input_ids=input_ids, labels=labels)


def _check_parts(dialogue: Dialogue, processors: Processors) -> None:
    """Check that each name of a list can be asked alone, which is as far as a list can be divided."""
    for name in dialogue.query:
        alone = [entry for entry in dialogue.entries if entry.name == name]
        _row(dialogue.with_answer([name], alone), processors, in_parts=False)


def _check_length(dialogue: Dialogue, prompt: int, answer: int, limit: int) -> None:
    if prompt + answer > limit:
        raise QueryError(
            f"query: {len(dialogue.query)} names ({dialogue.query[0]!r}, ...) make {prompt} tokens and their answer "
            f"{answer}, together {prompt + answer}; the language model takes at most {limit}. Ask for fewer names "
            "(ClassSampling limits them) or choose a model with a longer context"
        )


def _present_positions(dialogue: Dialogue, answer: list[int], processors: Processors) -> list[int]:
    """Return the positions of the present tokens in the answer, of which there must be one an entry with a mask."""
    if dialogue.kind == "question":
        return []
    [token] = processors.text.answer_ids(processors.prompt_format.present_token)
    places = [place for place, token_id in enumerate(answer) if token_id == token]
    present = [entry for entry in dialogue.entries if entry.present]
    assert len(places) == len(present), f"{len(places)} present tokens for {len(present)} present entries"
    return [place for place, entry in zip(places, present, strict=True) if entry.mask is not None]


Broken = Literal["error", "skip"]


@dataclass(frozen=True)
class SampleMaker:
    """Makes prepared samples of a source's raw ones.

    Args:
        source: Where the records come from and which task makes dialogues of them.
        strategies: Changes to the dialogues, in order.
        processors: How the assistant wants images and text.
        seed: Seed of the run.
        tally: Where used and left-out records are counted.
        broken: Whether a record that cannot be used is an error, or skipped, counted and reported.
        evaluates: Whether the samples are for evaluation: they keep their images as they were, ask each round of a talk
            by itself, and may ask for more names than the language model takes at once.
    """

    source: Source
    strategies: Sequence[Strategy]
    processors: Processors
    seed: int
    tally: RecordCounts
    broken: Broken = "error"
    evaluates: bool = False

    def __call__(self, raw: RawSample, epoch: int = 0, visit: int = 0) -> PreparedSample | None:
        """Return the sample, or None if the record is left out.

        Args:
            raw: Files of a record by extension, as webdataset has them.
            epoch: Number of the epoch.
            visit: Number of the pass over the source within the epoch.

        Raises:
            RecordError: If the record cannot be used and ``broken`` is "error"; names shard and record.
            QueryError: If a dialogue does not fit the assistant: that is the settings' fault, not the record's.
        """
        try:
            sample = self._make(raw, epoch, visit)
        except RecordError as error:
            named = RecordError(f"{raw['__url__']}: {error}")
            if self.broken == "error":
                raise named from error
            self.tally.add_broken(self.source.label, worker(), named)
            return None
        count = self.tally.add_empty if sample is None else self.tally.add_used
        count(self.source.label, worker())
        return sample

    def dry_run(self, raw: RawSample) -> None:
        """Make a sample and forget it, uncounted: what would stop the run does so now.

        Raises:
            RecordError: As when the sample is made in earnest.
            QueryError: As when the sample is made in earnest.
        """
        try:
            self._make(raw, epoch=0, visit=0)
        except RecordError as error:
            if self.broken == "error":
                raise RecordError(f"{raw['__url__']}: {error}") from error

    def _make(self, raw: RawSample, epoch: int, visit: int) -> PreparedSample | None:
        record, dialogues = ask_record(
            raw, self.source, self._change, seed=self.seed, epoch=epoch, visit=visit, each_turn=self.evaluates
        )
        if not dialogues:
            return None
        return prepare_sample(
            decode_image(record.image_bytes, record.key, size=record.size),
            dialogues,
            self.processors,
            source=self.source.label,
            key=record.key,
            keep_image=self.evaluates,
            in_parts=self.evaluates,
        )

    def _change(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        for strategy in self.strategies:
            dialogue = strategy(dialogue, rng)
        return dialogue


def ask_record(
    raw: RawSample,
    source: Source,
    change: Callable[[Dialogue, np.random.Generator], Dialogue | None],
    *,
    seed: int,
    epoch: int = 0,
    visit: int = 0,
    each_turn: bool = False,
) -> tuple[Record, list[Dialogue]]:
    """Decode a record, transform it and make its dialogues; training, tests and ``lasagna evaluate`` all do it here.

    Args:
        raw: Files of a record by extension, as webdataset has them.
        source: Where the record comes from, with its transforms and its task.
        change: Changes a dialogue of the task, or drops it by returning None.
        seed: Seed of the run.
        epoch: Number of the epoch.
        visit: Number of the pass over the source within the epoch.
        each_turn: Whether each turn of a conversation becomes a dialogue.

    Returns:
        The transformed record, and its dialogues; none if there is nothing for the task.

    Raises:
        RecordError: If the annotations cannot be decoded, or the image has another size than they; that is checked
            before transforms, and where nothing is asked, so that nobody decodes the image.
    """
    record = decode_record(raw, source.manifest)
    rng = generator(seed, epoch, f"{source.label}/{record.key}/{visit}")
    if source.transforms:
        check_size(record)
    for transform in source.transforms or ():
        record = transform(record, rng)
    changed = [change(dialogue, rng) for dialogue in source.task.dialogues(record, rng)]
    dialogues = [dialogue for dialogue in changed if dialogue is not None]
    if each_turn:
        dialogues = [turn for dialogue in dialogues for turn in dialogue.apart()]
    if not dialogues:
        check_size(record)
    return record, dialogues
