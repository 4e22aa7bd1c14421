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
from rich.progress import track
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.processors import TextProcessor
from lasagna.core.prompt_formats import TINY
from lasagna.core.query_kind import CATEGORY_LIST, QUESTION, REASONING, REFERRING, QueryKind
from lasagna.core.seeding import generator
from lasagna.core.workers import worker_pool
from lasagna.datamodules.scenes import CATEGORIES, COLOURS, THINGS, VOID, Scene, ask, describe, draw_scene, riddles
from lasagna.modules.tiny.tokenizer import IMAGE, NO, YES
from lasagna.tasks.pretrain.stage import NO_COLOUR, colour_map

SYMBOLS = (*CATEGORIES, *COLOURS, "centre")
GRID = 6
FAINT = 0.04
"""Share of a cell below which a category is ignored."""


def symbol_grid(scene: Scene) -> NDArray[np.float16]:
    """Return the strength of each symbol in each cell, ``[i, s]``: the square root of its share of the cell."""
    categories = _shares(scene.labels, len(CATEGORIES), VOID)
    colours = _shares(colour_map(scene), len(COLOURS), NO_COLOUR)
    categories[:, -len(THINGS) :] *= 1.5
    return np.concatenate([categories, colours, _centres(scene)], 1).astype(np.float16)


def occupancy(mask: NDArray[np.bool_]) -> NDArray[np.float16]:
    """Return the share of each cell that a mask covers, scaled to a maximum of 1, ``[i]``."""
    shares = _cells(mask.astype(np.float32)).mean(1)
    return np.asarray(shares / max(shares.max(), 1e-6), dtype=np.float16)


def _cells(values: NDArray[np.float32]) -> NDArray[np.float32]:
    side = values.shape[0] // GRID
    cells = values[: side * GRID, : side * GRID].reshape(GRID, side, GRID, side)
    return cells.transpose(0, 2, 1, 3).reshape(GRID * GRID, side * side)


def _shares(values: NDArray[np.integer], count: int, nothing: int) -> NDArray[np.float32]:
    cells = _cells(values.astype(np.float32)).astype(np.int64)
    shares = np.stack([(cells == value).mean(1) for value in range(count)], 1)
    return np.sqrt(np.where(shares >= FAINT, shares, 0)).astype(np.float32)


def _centres(scene: Scene) -> NDArray[np.float32]:
    counts = np.zeros((GRID, GRID), dtype=np.float32)
    for thing in scene.things:
        row, column = (min(int(place * GRID / scene.size), GRID - 1) for place in thing.centre)
        counts[row, column] += 1
    return counts.reshape(-1, 1)


@dataclass(frozen=True)
class Pointer:
    """A text that points at something, or at nothing.

    Args:
        text: A phrase, a riddle or a category.
        kind: "referring", "reasoning" or "categories".
        where: Share of each cell that its target covers, ``[i]``, or None without a target.
    """

    text: str
    kind: QueryKind
    where: NDArray[np.float16] | None


@dataclass(frozen=True)
class Lesson:
    """A scene without its pixels.

    Args:
        symbols: Symbols of each cell, ``[i, s]``.
        categories: Each category, with the cells that it covers.
        pointers: Phrases and riddles, with the cells that they mean.
        questions: Questions and their answers.
    """

    symbols: NDArray[np.float16]
    categories: tuple[Pointer, ...]
    pointers: tuple[Pointer, ...]
    questions: tuple[tuple[str, str], ...]


def lesson(scene: Scene, rng: np.random.Generator, count: int = 12) -> Lesson:
    """Make the lesson of a scene, with ``count`` phrases and questions each and half as many riddles."""
    present = set(scene.present)
    categories = [
        Pointer(name, CATEGORY_LIST, occupancy(scene.category_mask([name])) if name in present else None)
        for name in CATEGORIES
    ]
    pointers = [
        Pointer(phrase.text, REFERRING, occupancy(scene.mask(phrase.targets)) if phrase.targets else None)
        for phrase in describe(scene, rng, count)
    ]
    pointers += [
        Pointer(riddle.text, REASONING, occupancy(scene.category_mask(riddle.names)) if riddle.names else None)
        for riddle in riddles(scene, rng, count // 2)
    ]
    questions = tuple((question.text, question.answer) for question in ask(scene, rng, count))
    return Lesson(symbol_grid(scene), tuple(categories), tuple(pointers), questions)


def make_lessons(count: int, seed: int, processes: int = 2) -> list[Lesson]:
    """Make lessons on several processes.

    Args:
        count: Number of lessons.
        seed: Seed, which no evaluation should use.
        processes: Number of processes.
    """
    with worker_pool(processes, method="spawn") as pool:
        made = pool.map(_lesson, ((seed, index) for index in range(count)), chunksize=64)
        return list(track(made, description="making lessons", total=count))


def _lesson(place: tuple[int, int]) -> Lesson:
    rng = generator(place[0], 0, f"lesson/{place[1]}")
    return lesson(draw_scene(rng), rng)


READING_FORMAT = replace(TINY, present_token=YES, absent_token=NO, image_token=IMAGE)
"""The tiny prompt format with neutral tokens; the assistant learns the real ones itself."""


@dataclass
class Row:
    """One prompt and its answer.

    Args:
        input_ids: Tokens of prompt and answer.
        labels: The same where supervised, else -100.
        pointers: For each decision the position that predicts it, and the cells that it means.
    """

    input_ids: list[int]
    labels: list[int]
    pointers: list[tuple[int, NDArray[np.float16]]] = field(default_factory=list)


class TextBatch(NamedTuple):
    """Rows as tensors.

    Args:
        input_ids: Long ``[r, t]``, padded at the right.
        labels: Long ``[r, t]``, -100 where not supervised.
        symbols: Symbols of each cell, float ``[r, i, s]``.
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
    text: TextProcessor,
    kind: QueryKind,
    pointers: Sequence[Pointer],
    image: bool = True,
    answered: Sequence[Pointer] | None = None,
) -> Row:
    """Return the row that asks for names, phrases or riddles, with a decision for each.

    Args:
        text: The tokeniser.
        kind: QueryKind of the query.
        pointers: The query, in order.
        image: Whether the prompt contains the image.
        answered: The names of the answer, in order; by default those of the query.
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


def question_row(text: TextProcessor, question: str, answer: str) -> Row:
    """Return the row of a question and its answer."""
    return _row(text, READING_FORMAT.prompt(QUESTION, [question]), answer)


def _row(text: TextProcessor, prompt: str, answer: str) -> Row:
    before, after = text.prompt_ids(prompt), [*text.answer_ids(answer), text.end_token_id]
    return Row(before + after, [IGNORE_LABEL] * len(before) + after)


def stack_rows(
    rows: Sequence[Row], symbols: NDArray[np.floating], names: NDArray[np.int64], padding: int, kind: str
) -> TextBatch:
    """Stack rows, padded at the right.

    Args:
        rows: The rows.
        symbols: Symbols of each cell, ``[r, i, s]``.
        names: Word ids of each symbol's name, ``[r, s, 2]``.
        padding: Padding token.
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
