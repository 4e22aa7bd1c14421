"""Two ways to decode an answer: ordered, which only decides, and free, which writes.

The answer to a complex query has a known skeleton, so that ordered decoding drafts all decisions, checks them in one
forward over the cached prompt, takes all new ones, and repeats until nothing changes. Each decision is then the best
one given all decisions before it: greedy decoding under the answer's grammar.

Notation: r: rows (queries); t: tokens; k: decisions of one row; d: hidden size; i: image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lasagna.batch import Query, TextPreparation
from lasagna.errors import QueryError
from lasagna.modules.base import LanguageModel
from lasagna.modules.rows import left_pad, right_pad, row_positions
from lasagna.prompt_format import PromptFormat


@dataclass(frozen=True)
class Decoded:
    """A decoded answer.

    Args:
        text: The answer as it was written, without its end token.
        present: For each decision token, in the order written, whether it was the present token.
        scores: Probability of the present token against the absent one at each decision, float ``[k]``.
        hidden: Hidden state that predicted each decision token, float ``[k, d]``.
        forwards: How many forwards after the prompt it took.
    """

    text: str
    present: tuple[bool, ...]
    scores: Tensor
    hidden: Tensor
    forwards: int


class Decoder:
    """Decodes answers with a language model.

    Args:
        model: The language model.
        prompt_format: How queries and answers are written.
        threshold: Presence score from which ordered decoding says "present"; 0.5 is greedy.
    """

    def __init__(self, model: LanguageModel, prompt_format: PromptFormat, threshold: float = 0.5) -> None:
        self.model = model
        self.format = prompt_format
        self.threshold = threshold
        self.text: TextPreparation = model.preparation
        self.present_id = self.text.answer_ids(prompt_format.present_token)[0]
        self.absent_id = self.text.answer_ids(prompt_format.absent_token)[0]

    @torch.no_grad()
    def ordered(self, image_vectors: Tensor, queries: Sequence[Query]) -> list[Decoded]:
        """Decide on every name of each query, in the order asked.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: The queries; none of kind "question".

        Raises:
            QueryError: If a query cannot be asked or is longer than the model takes.
        """
        prompts = self._prompts(queries)
        answers = [self.text.answer_ids(self._answer(query, [False] * len(query.names))) for query in queries]
        self._check_lengths(queries, prompts, answers)
        # The last prompt token is read together with the answer, since it may already predict a decision.
        cached = _CachedPrompts(self.model, [ids[:-1] for ids in prompts], self._vectors(image_vectors, queries))
        tails = [prompt[-1:] + answer for prompt, answer in zip(prompts, answers, strict=True)]
        places = [self._decision_places(tail) for tail in tails]
        changed, forwards = True, 0
        while changed:
            hidden = cached.extend(tails, keep=False)
            states = [hidden[row, torch.tensor(place) - 1] for row, place in enumerate(places)]
            scores = self._scores(states)
            changed, forwards = self._redraft(tails, places, scores), forwards + 1
        return [
            self._decoded(query, score, state, forwards)
            for query, score, state in zip(queries, scores, states, strict=True)
        ]

    @torch.no_grad()
    def free(self, image_vectors: Tensor, queries: Sequence[Query], most: int | None = None) -> list[Decoded]:
        """Write the most probable token at each step until the end token.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: The queries.
            most: Most tokens to write; None for twice a complete answer, and 64 for a question.

        Raises:
            QueryError: If a query cannot be asked or is longer than the model takes.
        """
        prompts = self._prompts(queries)
        self._check_lengths(queries, prompts, [[]] * len(queries))
        room = self.text.max_length - max(map(len, prompts))
        most = min(room, most if most is not None else max(map(self._budget, queries)))
        cached = _CachedPrompts(self.model, [ids[:-1] for ids in prompts], self._vectors(image_vectors, queries))
        written = [[ids[-1]] for ids in prompts]
        states: list[list[Tensor]] = [[] for _ in queries]
        for _ in range(most):
            hidden = cached.extend([tokens[-1:] for tokens in written], keep=True)[:, 0]
            for row, token in enumerate(self.model.logits(hidden).argmax(-1).tolist()):
                self._write(written[row], states[row], token, hidden[row])
            if all(tokens[-1] == self.text.end_token_id for tokens in written):
                break
        return [self._read(tokens[1:], state, image_vectors) for tokens, state in zip(written, states, strict=True)]

    def _prompts(self, queries: Sequence[Query]) -> list[list[int]]:
        for query in queries:
            self.format.check(query.kind, query.names)
        return [self.text.prompt_ids(self.format.prompt(query.kind, query.names)) for query in queries]

    def _answer(self, query: Query, present: Sequence[bool]) -> str:
        return self.format.render(query.kind, list(zip(query.names, present, strict=True)))

    def _vectors(self, image_vectors: Tensor, queries: Sequence[Query]) -> Tensor:
        return image_vectors[torch.tensor([query.image for query in queries], device=image_vectors.device)]

    def _check_lengths(
        self, queries: Sequence[Query], prompts: Sequence[list[int]], answers: Sequence[list[int]]
    ) -> None:
        for query, prompt, answer in zip(queries, prompts, answers, strict=True):
            length = len(prompt) + len(answer) + 1
            if length > self.text.max_length:
                raise QueryError(
                    f"query: {len(query.names)} names need {length} tokens with their answer, the language model takes "
                    f"{self.text.max_length}; ask in several queries"
                )

    def _decision_places(self, tokens: Sequence[int]) -> list[int]:
        return [place for place, token in enumerate(tokens) if token in (self.present_id, self.absent_id)]

    def _scores(self, states: Sequence[Tensor]) -> list[Tensor]:
        logits = self.model.logits(torch.cat(list(states)))[:, [self.absent_id, self.present_id]]
        return list(logits.float().softmax(-1)[:, 1].split([len(state) for state in states]))

    def _redraft(self, tails: Sequence[list[int]], places: Sequence[list[int]], scores: Sequence[Tensor]) -> bool:
        """Put the new decisions into the draft; say whether anything changed."""
        changed = False
        for tail, row_places, score in zip(tails, places, scores, strict=True):
            for place, present in zip(row_places, (score >= self.threshold).tolist(), strict=True):
                token = self.present_id if present else self.absent_id
                changed |= tail[place] != token
                tail[place] = token
        return changed

    def _decoded(self, query: Query, scores: Tensor, states: Tensor, forwards: int) -> Decoded:
        present = (scores >= self.threshold).tolist()
        return Decoded(self._answer(query, present), tuple(present), scores, states, forwards)

    def _budget(self, query: Query) -> int:
        if query.kind == "question":
            return 64
        return 2 * len(self.text.answer_ids(self._answer(query, [False] * len(query.names)))) + 8

    def _write(self, tokens: list[int], states: list[Tensor], token: int, hidden: Tensor) -> None:
        ended = len(tokens) > 1 and tokens[-1] == self.text.end_token_id
        tokens.append(self.text.end_token_id if ended else token)
        if not ended and token in (self.present_id, self.absent_id):
            states.append(hidden)

    def _read(self, tokens: Sequence[int], states: Sequence[Tensor], like: Tensor) -> Decoded:
        present = tuple(token == self.present_id for token in tokens if token in (self.present_id, self.absent_id))
        hidden = torch.stack(list(states)) if states else like.new_zeros(0, self.model.hidden_size)
        return Decoded(self.text.text(tokens), present, self._scores([hidden])[0], hidden, len(tokens))


class _CachedPrompts:
    """Prompts of unequal lengths, read once, that can be extended again and again."""

    def __init__(self, model: LanguageModel, prompts: Sequence[list[int]], vectors: Tensor) -> None:
        self.model = model
        self.padding = model.preparation.padding_token_id
        ids, self.mask = left_pad(prompts, self.padding, vectors.device)
        self.cache = model.new_cache()
        model(model.embed(ids, vectors), self.mask, row_positions(self.mask), self.cache)
        self.no_vectors = vectors[:, :0]

    def extend(self, tails: Sequence[Sequence[int]], keep: bool) -> Tensor:
        """Return hidden states ``[r, t, d]`` of tokens behind the prompts; remember them only if ``keep``."""
        ids, tail_mask = right_pad(tails, self.padding, self.mask.device)
        mask = torch.cat([self.mask, tail_mask], 1)
        positions = row_positions(mask)[:, -ids.shape[1] :]
        hidden: Tensor = self.model(self.model.embed(ids, self.no_vectors), mask, positions, self.cache)
        if keep:
            self.mask = mask
        else:
            self.cache.crop(-ids.shape[1])
        return hidden
