"""Stage 2: the language model learns, without images, to copy lists and to read the content of a scene's cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.datamodules.scenes import CATEGORIES
from lasagna.modules.tiny.language_model import TinyLanguageModel
from lasagna.modules.tiny.tokenizer import IMAGE, NO, YES
from lasagna.modules.tiny.vision_encoder import TinyVisionEncoder
from lasagna.tasks.pretrain.stage import Stage
from lasagna.tasks.pretrain.text_rows import (
    GRID,
    SYMBOLS,
    Lesson,
    Pointer,
    Row,
    TextBatch,
    pointing_row,
    question_row,
    stack_rows,
)
from lasagna.tasks.pretrain.words import NOUNS

TOKENS = 3072
"""Tokens of a batch, so that steps of all kinds take about the same time."""


COLOUR_QUESTION = "what colour"
"""Beginning of questions about a colour."""

COPIED = 0.05
"""Running mean of the cross entropy below which copying counts as learned."""


class ReadingStage(Stage):
    """Learn to copy lists; then to read lists, phrases, riddles and questions about symbols.

    The symbols stand for an image. In half of the lists other nouns replace the categories, in the symbols and in the
    text, so that reading does not depend on particular names. A linear probe predicts from the hidden state of each
    decision which cells are meant.

    Args:
        lessons: Scenes to learn from.
        copy_steps: Maximum number of steps that only copy.
        steps: Total number of steps.
        longest: Maximum number of names in a list.
        kinds: What batches practise after copying; the probability of a kind is proportional to how often it is listed.
            A "form" is a list whose query and answer have any of the forms that ablations of the training strategies
            use.
        colours: Share of questions about a colour, in scenes that have such questions.
        lr: Peak learning rate.
        name: Name of the stage, for its log and its random numbers.
    """

    def __init__(
        self,
        lessons: Sequence[Lesson],
        copy_steps: int = 3000,
        steps: int = 8000,
        longest: int = 30,
        kinds: Sequence[str] = ("list", "list", "point", "question"),
        colours: float = 0.0,
        lr: float = 3e-3,
        name: str = "language_model",
    ) -> None:
        super().__init__(name, steps, lr=lr)
        self.lessons = lessons
        self.copy_steps = copy_steps
        self.longest = longest
        self.kinds = kinds
        self.colours = colours
        self.model = TinyLanguageModel(weights="random", projector="random", image_grid=(GRID, GRID))
        self.model.build(TinyVisionEncoder(weights="random").spec, (YES, NO, IMAGE))
        self.centre = nn.Parameter(0.1 * torch.randn(self.model.hidden_size))
        self.probe = nn.Linear(self.model.hidden_size, GRID * GRID)
        self.text = self.model.text_processor
        self.copy_loss = 1.0
        self.names = np.stack([self._name_ids(name) for name in [*SYMBOLS[:-1], ""]])

    def make_batch(self, rng: np.random.Generator) -> TextBatch:
        """Return a batch of one kind."""
        copying = self.global_step < self.copy_steps and self.copy_loss > COPIED
        kind = "copy" if copying else str(rng.choice(self.kinds))
        short = kind == "list" and rng.random() < 0.5
        count = int(rng.integers(1, 7 if short else self.longest + 1))
        rows = max(TOKENS // (GRID * GRID + (24 if kind in ("point", "question") else 4 + 4 * count)), 1)
        chosen = [self.lessons[index] for index in rng.integers(len(self.lessons), size=rows)]
        made = [self._row(kind, lesson, count, rng) for lesson in chosen]
        symbols = np.stack([lesson.symbols for lesson in chosen])
        return stack_rows([row for row, _ in made], symbols, np.stack([names for _, names in made]), 0, kind)

    def losses(self, batch: TextBatch) -> dict[str, Tensor]:
        """Return the loss of the answers and of the probe."""
        hidden = self.read(batch)
        labels = batch.labels[:, 1:]
        supervised = labels != IGNORE_LABEL
        logits = self.model.logits(hidden[:, :-1][supervised]).float()
        answers = nn.functional.cross_entropy(logits, labels[supervised])
        losses = {"answers": answers, f"right_{batch.kind}": (logits.argmax(-1) == labels[supervised]).float().mean()}
        if batch.kind == "copy":
            self.copy_loss += 0.05 * (float(answers.detach()) - self.copy_loss)
        pointing = torch.zeros(())
        if len(batch.pointer_rows):
            cells = self.probe(hidden[batch.pointer_rows, batch.pointer_positions]).float()
            pointing = nn.functional.binary_cross_entropy_with_logits(cells, batch.pointer_cells)
            losses["pointing"] = pointing
        return {"loss": answers + pointing, **losses}

    def read(self, batch: TextBatch) -> Tensor:
        """Return hidden states ``[r, t, d]`` of rows with symbols as image tokens."""
        vectors = self.model.projector.place(self.content(batch.symbols, batch.names))
        embeddings = self.model.embed(batch.input_ids, vectors)
        mask = (batch.input_ids != 0).long()
        positions = torch.arange(mask.shape[1]).expand_as(mask)
        hidden: Tensor = self.model(embeddings, mask, positions)
        return hidden

    def content(self, symbols: Tensor, names: Tensor) -> Tensor:
        """Return the sum of the word embeddings of each cell's symbols, ``[r, i, d]``."""
        words = self.model.llama.get_input_embeddings()(names.clamp(min=0)) * (names >= 0)[..., None]
        meaning = words.sum(-2) / (names >= 0).sum(-1, keepdim=True).clamp(min=1)  # [r, s, d]
        meaning = torch.cat([meaning[:, :-1], self.centre.expand(len(names), 1, -1)], 1)
        return symbols @ meaning

    def _row(self, kind: str, lesson: Lesson, count: int, rng: np.random.Generator) -> tuple[Row, NDArray[np.int64]]:
        if kind == "question":
            return question_row(self.text, *self._question(lesson, rng)), self.names
        if kind == "point":
            pointer = lesson.pointers[rng.integers(len(lesson.pointers))]
            return pointing_row(self.text, pointer.kind, [pointer]), self.names
        renaming = (
            _renaming(rng) if kind == "copy" or rng.random() < 0.5 else dict(zip(CATEGORIES, CATEGORIES, strict=True))
        )
        chosen = _choose(lesson.categories, count, rng)
        if kind == "form" and rng.random() < 0.5:
            chosen = [pointer for pointer in lesson.categories if pointer in chosen]
        renamed = [
            Pointer(renaming.get(pointer.text, pointer.text), CATEGORY_LIST, pointer.where) for pointer in chosen
        ]
        pointers = list({pointer.text: pointer for pointer in reversed(renamed)}.values())[::-1]
        answered = _any_form(pointers, rng) if kind == "form" else None
        row = pointing_row(self.text, CATEGORY_LIST, pointers, kind != "copy", answered)
        names = np.stack([*(self._name_ids(renaming[name]) for name in CATEGORIES), *self.names[len(CATEGORIES) :]])
        return _hide_decisions(row, self.text.answer_ids(YES + NO)) if kind == "copy" else row, names

    def _question(self, lesson: Lesson, rng: np.random.Generator) -> tuple[str, str]:
        about_colour = [question for question in lesson.questions if question[0].startswith(COLOUR_QUESTION)]
        questions = about_colour if about_colour and rng.random() < self.colours else lesson.questions
        return questions[rng.integers(len(questions))]

    def _name_ids(self, name: str) -> NDArray[np.int64]:
        ids = self.text.answer_ids(name)[:2] if name else []
        return np.asarray(ids + [-1] * (2 - len(ids)))


def _renaming(rng: np.random.Generator) -> dict[str, str]:
    nouns = rng.choice(len(NOUNS), size=len(CATEGORIES), replace=False)
    return {name: NOUNS[noun] for name, noun in zip(CATEGORIES, nouns, strict=True)}


def _choose(categories: Sequence[Pointer], count: int, rng: np.random.Generator) -> list[Pointer]:
    """Choose names: often many present ones, some that are in no scene, and random absent ones."""
    present = [pointer for pointer in categories if pointer.where is not None]
    absent = [pointer for pointer in categories if pointer.where is None]
    borrowed = [Pointer(NOUNS[noun], CATEGORY_LIST, None) for noun in rng.choice(len(NOUNS), size=8, replace=False)]
    absent += borrowed[: int(rng.integers(9))]
    wanted = int(rng.integers(0, len(present) + 1)) if rng.random() < 0.5 else len(present)
    kept = [present[rank] for rank in rng.permutation(len(present))[: min(wanted, count)]]
    kept += [absent[rank] for rank in rng.permutation(len(absent))[: count - len(kept)]]
    return [kept[rank] for rank in rng.permutation(len(kept))]


def _any_form(pointers: Sequence[Pointer], rng: np.random.Generator) -> list[Pointer]:
    """Return the names of an answer: all or only present ones, in the order of the query or in another one."""
    order = rng.permutation(len(pointers)) if rng.random() < 0.5 else range(len(pointers))
    absent_too = rng.random() < 0.5
    return [pointers[rank] for rank in order if absent_too or pointers[rank].where is not None]


def _hide_decisions(row: Row, decisions: Sequence[int]) -> Row:
    """Remove the decisions from the supervision, since the row does not tell which are right."""
    labels = [IGNORE_LABEL if label in decisions else label for label in row.labels]
    return Row(row.input_ids, labels)
