"""Making samples of records: dialogues become tokens with labels, images become the parts' inputs.

Notation: H, W: the vision encoder's input size in pixels; h, w: the image's own size; n: masks; t: tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.dialogue import Dialogue
from lasagna.core.geometry import Geometry
from lasagna.core.processors import FittedImage, Processors, prepare
from lasagna.core.prompt_format import shortened
from lasagna.core.record import Record, Turn, check_size, decode_image
from lasagna.core.seeding import generator
from lasagna.datamodules.shards.codec import decode_record, record_key
from lasagna.datamodules.shards.reader import RawSample
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.streaming.distributed import worker_index
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.errors import QueryError, RecordError


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
        processors: The assistant's processors.
        source: Name of the source.
        key: Key of the record.
        keep_image: Whether to keep the original image.
        in_parts: Whether lists and their answers may exceed the language model's context: they are answered in parts,
            and cannot be used for training.

    Raises:
        QueryError: If a query is invalid or too long. A list in parts is too long if one of its names alone is.
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
        # a list can be divided down to single names, each of which must fit
        for name in dialogue.query:
            entries = [entry for entry in dialogue.entries if entry.name == name]
            _row(dialogue.with_answer([name], entries), processors, in_parts=False)
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
    """Return the positions of the present tokens whose entries have masks; each present entry must have a token."""
    if not dialogue.kind.masks:
        return []
    [token] = processors.text.answer_ids(processors.prompt_format.present_token)
    places = [place for place, token_id in enumerate(answer) if token_id == token]
    present = [entry for entry in dialogue.entries if entry.present]
    assert len(places) == len(present), f"{len(places)} present tokens for {len(present)} present entries"
    return [place for place, entry in zip(places, present, strict=True) if entry.mask is not None]


@dataclass(frozen=True)
class SampleMaker:
    """Prepares the raw samples of a source.

    Args:
        source: The source, with its task.
        strategies: Changes to the dialogues, in order.
        processors: The assistant's processors.
        seed: Seed of the run.
        tally: Counts of used and skipped records.
        broken: Whether a record that cannot be used is an error, or is skipped, counted and reported.
        evaluates: Whether the samples are for evaluation: they keep the original image, ask each turn of a conversation
            by itself, and may ask for more names than the language model takes at once.
    """

    source: Source
    strategies: Sequence[Strategy]
    processors: Processors
    seed: int
    tally: RecordCounts
    broken: Literal["error", "skip"] = "error"
    evaluates: bool = False

    def __call__(self, raw: RawSample, epoch: int = 0, visit: int = 0) -> PreparedSample | None:
        """Return the sample, or None if the record is skipped.

        Args:
            raw: Files of a record by extension, as webdataset returns them.
            epoch: Number of the epoch.
            visit: Number of the pass over the source within the epoch.

        Raises:
            RecordError: If the record cannot be used and ``broken`` is "error"; names shard and record.
            QueryError: If a text of the record does not fit the assistant and ``broken`` is "error"; names both too.
        """
        try:
            with naming(raw):
                sample = self._make(raw, epoch, visit)
        except (RecordError, QueryError) as error:
            if self.broken == "error":
                raise
            self.tally.add_broken(self.source.label, worker_index(), error)
            return None
        count = self.tally.add_empty if sample is None else self.tally.add_used
        count(self.source.label, worker_index())
        return sample

    def dry_run(self, raws: Iterable[RawSample]) -> None:
        """Make some samples and discard them without counting them, so that errors show before the run.

        Args:
            raws: Files of each record by extension, as webdataset returns them.

        Raises:
            RecordError: If a record cannot be used and ``broken`` is "error"; names shard and record.
            QueryError: If a dialogue does not fit the assistant and ``broken`` is "error", or if none of the records
                fits, which the settings cause.
        """
        misfits, tried = list[QueryError](), 0
        for raw in raws:
            tried += 1
            try:
                with naming(raw):
                    self._make(raw, epoch=0, visit=0)
            except (RecordError, QueryError) as error:
                if self.broken == "error":
                    raise
                misfits += [error] if isinstance(error, QueryError) else []
        if misfits and len(misfits) == tried:
            raise misfits[0]

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


@contextmanager
def naming(raw: RawSample) -> Iterator[None]:
    """Add the shard, and where it is missing the record, to errors that a record causes.

    Args:
        raw: Files of the record by extension, as webdataset returns them.
    """
    try:
        yield
    except RecordError as error:
        raise RecordError(f"{raw['__url__']}: {error}") from error
    except QueryError as error:
        raise QueryError(f"{raw['__url__']}: record {record_key(raw)}: {error}") from error


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
    """Decode a record, transform it and make its dialogues, for training, tests and ``lasagna evaluate`` alike.

    Args:
        raw: Files of a record by extension, as webdataset returns them.
        source: The source, with its transforms and its task.
        change: Changes a dialogue of the task, or drops it by returning None.
        seed: Seed of the run.
        epoch: Number of the epoch.
        visit: Number of the pass over the source within the epoch.
        each_turn: Whether each turn of a conversation becomes a dialogue.

    Returns:
        The transformed record and its dialogues; no dialogues if there is nothing for the task.

    Raises:
        RecordError: If the annotations cannot be decoded, or the image has another size than they state. The size is
            checked here before transforms and for records without dialogues, whose image is not decoded afterwards.
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
