"""Rows of tokens about symbols instead of images, for the language model's pretraining.

Notation: r: rows; t: tokens; i: cells; s: symbols; m: places that point at something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL, TextPreparation
from lasagna.core.dialogue import Kind
from lasagna.core.prompt_formats import TINY
from lasagna.modules.tiny.tokenizer import IMAGE, NO, YES
from lasagna.tasks.pretrain.lessons import Pointer

READING_FORMAT = replace(TINY, present_token=YES, absent_token=NO, image_token=IMAGE)
"""The tiny prompt format with neutral tokens, so that the real ones are left for the assistant to learn."""


@dataclass
class Row:
    """One prompt and its answer.

    Args:
        input_ids: Tokens of prompt and answer.
        labels: The same where supervised, else -100.
        pointers: Where decisions point: position that predicts the decision, and the cells.
    """

    input_ids: list[int]
    labels: list[int]
    pointers: list[tuple[int, NDArray[np.float16]]] = field(default_factory=list)


class TextBatch(NamedTuple):
    """Rows as tensors.

    Args:
        input_ids: Long ``[r, t]``, padded at the right.
        labels: Long ``[r, t]``, -100 where not supervised.
        symbols: What each cell holds, float ``[r, i, s]``.
        names: Word ids of each symbol's name, long ``[r, s, 2]``, -1 where a name has fewer words.
        pointer_rows: Row of each pointer, long ``[m]``.
        pointer_positions: Position of each pointer, long ``[m]``.
        pointer_cells: Cells of each pointer, float ``[m, i]``.
        kind: What the rows practise.
    """

    input_ids: Tensor
    labels: Tensor
    symbols: Tensor
    names: Tensor
    pointer_rows: Tensor
    pointer_positions: Tensor
    pointer_cells: Tensor
    kind: str


def pointing_row(
    text: TextPreparation,
    kind: Kind,
    pointers: Sequence[Pointer],
    image: bool = True,
    answered: Sequence[Pointer] | None = None,
) -> Row:
    """Return the row that asks for some names, phrases or riddles, and decides for each.

    Args:
        text: The tokeniser.
        kind: Kind of the query.
        pointers: What is asked for, in order.
        image: Whether the prompt holds the image.
        answered: What the answer names, in its order; by default all that is asked for, in the order asked.
    """
    prompt = READING_FORMAT.prompt(kind, [pointer.text for pointer in pointers])
    named = pointers if answered is None else answered
    answer = READING_FORMAT.render(kind, [(pointer.text, pointer.where is not None) for pointer in named])
    row = _row(text, prompt if image else prompt.replace(IMAGE, ""), answer)
    decisions = {text.answer_ids(YES)[0], text.answer_ids(NO)[0]}
    places = [place for place, label in enumerate(row.labels) if label in decisions]
    where = [(place - 1, pointer.where) for place, pointer in zip(places, named, strict=True)]
    row.pointers = [(place, cells) for place, cells in where if cells is not None]
    return row


def question_row(text: TextPreparation, question: str, answer: str) -> Row:
    """Return the row of a question and its answer."""
    return _row(text, READING_FORMAT.prompt("question", [question]), answer)


def _row(text: TextPreparation, prompt: str, answer: str) -> Row:
    before, after = text.prompt_ids(prompt), [*text.answer_ids(answer), text.end_token_id]
    return Row(before + after, [IGNORE_LABEL] * len(before) + after)


def stack_rows(
    rows: Sequence[Row], symbols: NDArray[np.floating], names: NDArray[np.int64], padding: int, kind: str
) -> TextBatch:
    """Stack rows, padded at the right.

    Args:
        rows: The rows.
        symbols: What each cell holds, ``[r, i, s]``.
        names: Word ids of each symbol's name, ``[r, s, 2]``.
        padding: Token that fills rows up.
        kind: What the rows practise.
    """
    longest = max(len(row.input_ids) for row in rows)
    pointers = [(rank, place, cells) for rank, row in enumerate(rows) for place, cells in row.pointers]
    cells = np.stack([cells for _, _, cells in pointers]) if pointers else np.zeros((0, symbols.shape[1]))
    return TextBatch(
        torch.tensor([row.input_ids + [padding] * (longest - len(row.input_ids)) for row in rows]),
        torch.tensor([row.labels + [IGNORE_LABEL] * (longest - len(row.labels)) for row in rows]),
        torch.from_numpy(symbols.astype(np.float32)),
        torch.from_numpy(names),
        torch.tensor([rank for rank, _, _ in pointers], dtype=torch.long),
        torch.tensor([place for _, place, _ in pointers], dtype=torch.long),
        torch.from_numpy(cells.astype(np.float32)),
        kind,
    )
