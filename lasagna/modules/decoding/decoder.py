"""Two ways to decode an answer: ordered, which only decides, and free, which writes; and answers that are given.

The answer to a complex query has a known skeleton, so that ordered decoding drafts all decisions, checks them in one
forward over the cached prompt, takes all new ones, and repeats until nothing changes. Each decision is then the best
one given all decisions before it: greedy decoding under the answer's grammar.

Notation: r: rows (queries); t: tokens; k: decisions of one row; d: hidden size; i: image tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lasagna.core.answer_parser import Piece
from lasagna.core.batch import Query
from lasagna.core.processors import TextProcessor
from lasagna.core.prompt_format import Fault, ParsedEntry, PromptFormat, normalise
from lasagna.errors import QueryError
from lasagna.modules.base import LanguageModel
from lasagna.modules.contract import check_forced
from lasagna.modules.decoding.cache import CachedPrompts, ChatHistory
from lasagna.modules.decoding.draft import Draft, settle


@dataclass(frozen=True)
class DecodedAnswer:
    """A decoded answer.

    Args:
        text: The answer as it was written, without its end token.
        entries: What it says about which names; none for a question.
        faults: What is wrong with it.
        present: For each decision token, in the order written, whether it was the present token.
        scores: Probability of the present token against the absent one at each decision, float ``[k]``.
        hidden: Hidden state that predicted each decision token, float ``[k, d]``.
        forwards: How many forwards after the prompt it took.
    """

    text: str
    entries: tuple[ParsedEntry, ...]
    faults: tuple[Fault, ...]
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
        temperature: By what the logits are divided before they become presence scores; decisions at 0.5 do not change.
    """

    def __init__(
        self, model: LanguageModel, prompt_format: PromptFormat, threshold: float = 0.5, temperature: float = 1.0
    ) -> None:
        self.model = model
        self.format = prompt_format
        self.threshold = threshold
        self.temperature = temperature
        self.text: TextProcessor = model.text_processor
        self.present_id = self.text.answer_ids(prompt_format.present_token)[0]
        self.absent_id = self.text.answer_ids(prompt_format.absent_token)[0]
        self.image_id = self.text.answer_ids(prompt_format.image_token)[0]

    @torch.no_grad()
    def ordered(
        self, image_vectors: Tensor, queries: Sequence[Query], earlier: ChatHistory | None = None
    ) -> list[DecodedAnswer]:
        """Decide on every name of each query, in the order asked; no explanation is written.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: The queries; none of kind "question".
            earlier: Earlier rounds of a talk that the one query goes on with, or None.

        Raises:
            QueryError: If a query cannot be asked or is longer than the model takes.
        """
        prompts = self._prompts(queries, earlier)
        answers = [self.text.answer_ids(self._answer(query, [False] * len(query.names))) for query in queries]
        self._check_lengths(queries, prompts, answers)
        # The last prompt token is read together with the answer, since it may already predict a decision.
        cached = self._read_all(prompts, self._vectors(image_vectors, queries), earlier)
        tails = [prompt[-1:] + answer for prompt, answer in zip(prompts, answers, strict=True)]
        places = [self._decision_places(tail) for tail in tails]
        draft = Draft(tails, places, present_id=self.present_id, absent_id=self.absent_id, threshold=self.threshold)
        scores, states, forwards = settle(cached, draft, self._scores)
        if earlier is not None:
            earlier.close([*prompts[0][:-1], *tails[0], self.text.end_token_id], cached)
        return [
            self._decoded(query, score, state, forwards)
            for query, score, state in zip(queries, scores, states, strict=True)
        ]

    @torch.no_grad()
    def free(
        self,
        image_vectors: Tensor,
        queries: Sequence[Query],
        most: int | None = None,
        earlier: ChatHistory | None = None,
    ) -> list[DecodedAnswer]:
        """Write the most probable token at each step until the end token.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: The queries.
            most: Most tokens to write; None for twice a complete answer, 64 for a question, and both for an explained
                query; a row ends before the language model's longest in any case.
            earlier: Earlier rounds of a talk that the one query goes on with, or None.

        Raises:
            QueryError: If a query cannot be asked or is longer than the model takes.
        """
        prompts = self._prompts(queries, earlier)
        self._check_lengths(queries, prompts, [[]] * len(queries))
        limits = [self._limit(query, prompt, most) for query, prompt in zip(queries, prompts, strict=True)]
        cached = self._read_all(prompts, self._vectors(image_vectors, queries), earlier)
        coming = [prompt[-1:] for prompt in prompts]
        written: list[list[int]] = [[] for _ in queries]
        states: list[list[Tensor]] = [[] for _ in queries]
        while any(coming):
            hidden = cached.extend(coming, keep=True)[:, 0]
            tokens = self._choose(hidden)
            for row in [row for row, tail in enumerate(coming) if tail]:
                ended = self._write(written[row], states[row], tokens[row], hidden[row])
                coming[row] = [] if ended or len(written[row]) >= limits[row] else [tokens[row]]
        if earlier is not None:
            earlier.close([*prompts[0], *self._ended(written[0])], cached)
        return [
            self._read(query, tokens, state, image_vectors)
            for query, tokens, state in zip(queries, written, states, strict=True)
        ]

    @torch.no_grad()
    def teacher_forced(self, image_vectors: Tensor, queries: Sequence[Query]) -> list[DecodedAnswer]:
        """Give the model the answer that the phrase is there, as the scripts of LISA and LaSagnA do for their scores.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: The queries, each of one phrase.

        Raises:
            QueryError: If a query cannot be asked, is of another kind, or is longer than the model takes.
        """
        check_forced(queries)
        prompts, answer = self._prompts(queries), self.text.answer_ids(self.format.teacher_forced())
        self._check_lengths(queries, prompts, [answer] * len(queries))
        cached = CachedPrompts(self.model, [ids[:-1] for ids in prompts], self._vectors(image_vectors, queries))
        hidden = cached.draft([ids[-1:] + answer[:-1] for ids in prompts])[:, -1:]
        scores = self._scores(list(hidden))
        text = self.format.teacher_forced() + self.format.tail
        return [
            DecodedAnswer(text, (ParsedEntry(query.names[0], True, 0),), (), (True,), score, state, 1)
            for query, score, state in zip(queries, scores, hidden, strict=True)
        ]

    def fits(self, query: Query) -> bool:
        """Say whether a query and its complete answer fit into the language model.

        Raises:
            QueryError: If the query cannot be asked.
        """
        prompt = self._prompts([query])[0]
        answer = (
            [] if query.kind == "question" else self.text.answer_ids(self._answer(query, [False] * len(query.names)))
        )
        return len(prompt) + len(answer) + 1 <= self.text.max_length

    @torch.no_grad()
    def stream(
        self, image_vectors: Tensor, query: Query, most: int | None = None, earlier: ChatHistory | None = None
    ) -> Iterator[str]:
        """Write the most probable token at each step, and give the text piece by piece as it comes.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            query: The query.
            most: Most tokens to write, as in ``free``.
            earlier: Earlier rounds of a talk that the query goes on with, or None.

        Yields:
            Pieces that, joined, are the text that ``free`` gives.

        Raises:
            QueryError: If the query cannot be asked or is longer than the model takes.
        """
        prompt = self._prompts([query], earlier)[0]
        self._check_lengths([query], [prompt], [[]])
        cached = self._read_all([prompt], self._vectors(image_vectors, [query]), earlier)
        limit, coming, written, told = self._limit(query, prompt, most), prompt[-1], list[int](), ""
        while len(written) < limit and coming != self.text.end_token_id:
            coming = self._choose(cached.extend([[coming]], keep=True)[:, 0])[0]
            written.append(coming)
            text = self.text.text(written)
            # a letter may take several tokens, and its first ones are no text yet
            if text != told and text.startswith(told) and not text.endswith("\ufffd"):
                yield text[len(told) :]
                told = text
        if earlier is not None:
            earlier.close([*prompt, *self._ended(written)], cached)

    def _prompts(self, queries: Sequence[Query], earlier: ChatHistory | None = None) -> list[list[int]]:
        """Return the token ids of all that is read before each answer, earlier rounds included."""
        for query in queries:
            self.format.check(query.kind, query.names)
        if earlier is not None and earlier.ids:
            (query,) = queries
            return [[*earlier.ids, *self.text.further_ids(self.format.further_prompt(query.kind, query.names))]]
        return [self.text.prompt_ids(self.format.prompt(query.kind, query.names)) for query in queries]

    def _read_all(self, prompts: Sequence[list[int]], vectors: Tensor, earlier: ChatHistory | None) -> CachedPrompts:
        """Read all prompts but for their last tokens."""
        if earlier is not None:
            return earlier.open(self.model, prompts[0][:-1], vectors)
        return CachedPrompts(self.model, [ids[:-1] for ids in prompts], vectors)

    def _ended(self, tokens: list[int]) -> list[int]:
        return tokens if tokens[-1:] == [self.text.end_token_id] else [*tokens, self.text.end_token_id]

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
                    f"query: {len(query.names)} names need {length} tokens with their answer and what is read before, "
                    f"the language model takes {self.text.max_length}; ask for less at a time, or begin a new talk"
                )

    def _decision_places(self, tokens: Sequence[int]) -> list[int]:
        return [place for place, token in enumerate(tokens) if token in (self.present_id, self.absent_id)]

    def _scores(self, states: Sequence[Tensor]) -> list[Tensor]:
        logits = self.model.logits(torch.cat(list(states)))[:, [self.absent_id, self.present_id]]
        scores = (logits.float() / self.temperature).softmax(-1)[:, 1]
        return list(scores.split([len(state) for state in states]))

    def _decoded(self, query: Query, scores: Tensor, states: Tensor, forwards: int) -> DecodedAnswer:
        present = (scores >= self.threshold).tolist()
        decided = zip(query.names, present, strict=True)
        entries = tuple(ParsedEntry(name, there, rank) for rank, (name, there) in enumerate(decided))
        return DecodedAnswer(self._answer(query, present), entries, (), tuple(present), scores, states, forwards)

    def _limit(self, query: Query, prompt: Sequence[int], most: int | None) -> int:
        room = self.text.max_length - len(prompt)
        if most is None and query.kind == "question":
            most = 64
        elif most is None:
            most = 2 * len(self.text.answer_ids(self._answer(query, [False] * len(query.names)))) + 8
            most += 64 if query.kind == "reasoning_with_explanation" else 0
        return min(room, most)

    def _choose(self, hidden: Tensor) -> list[int]:
        """Return the most probable token of each row; never the image token, which stands for vectors, not words."""
        logits = self.model.logits(hidden)
        logits[:, self.image_id : self.image_id + 1] = -torch.inf  # a slice, since it may stand behind all words
        tokens: list[int] = logits.argmax(-1).tolist()
        return tokens

    def _write(self, tokens: list[int], states: list[Tensor], token: int, hidden: Tensor) -> bool:
        """Write a token; say whether it ends the answer."""
        tokens.append(token)
        if token in (self.present_id, self.absent_id):
            states.append(hidden)
        return token == self.text.end_token_id

    def _read(self, query: Query, tokens: Sequence[int], states: Sequence[Tensor], like: Tensor) -> DecodedAnswer:
        pieces, rest = self._split(tokens)
        entries: tuple[ParsedEntry, ...] = ()
        faults: tuple[Fault, ...] = ()
        if query.kind != "question":
            entries, faults = self.format.read(query.kind, query.names, pieces, rest, self._spelled)
        present = tuple(there for _, there in pieces)
        hidden = torch.stack(list(states)) if states else like.new_zeros(0, self.model.hidden_size)
        scores = self._scores([hidden])[0]
        return DecodedAnswer(self.text.text(tokens), entries, faults, present, scores, hidden, len(tokens))

    def _split(self, tokens: Sequence[int]) -> tuple[list[Piece], str]:
        """Take an answer apart at its decision tokens, which words that merely look like them are not."""
        pieces, start = [], 0
        for place in self._decision_places(tokens):
            pieces.append((self.text.text(tokens[start:place]), tokens[place] == self.present_id))
            start = place + 1
        return pieces, self.text.text(tokens[start:])

    def _spelled(self, text: str) -> str:
        """Return what the tokeniser leaves of a text: names are compared as the model can write them."""
        return normalise(self.text.text(self.text.answer_ids(text)))


Decoding = Literal["ordered", "free", "teacher_forced"]


def decode_queries(
    decoder: Decoder, image_vectors: Tensor, queries: Sequence[Query], decoding: Decoding
) -> list[DecodedAnswer]:
    """Decode the answers to queries that fit into the language model, those of a kind together.

    Args:
        decoder: What decodes.
        image_vectors: What stands at the image tokens of each image, float ``[b, i, w]``.
        queries: What is asked; questions are always decoded freely.
        decoding: "ordered", "free" or "teacher_forced", as ``Assistant.answer_batch`` tells.

    Returns:
        One decoded answer for each query.
    """
    free = [rank for rank, query in enumerate(queries) if decoding == "free" or query.kind == "question"]
    told = [rank for rank in range(len(queries)) if rank not in set(free)]
    decoded: dict[int, DecodedAnswer] = {}
    decide = decoder.teacher_forced if decoding == "teacher_forced" else decoder.ordered
    for ranks, decode in ((free, decoder.free), (told, decide)):
        if ranks:
            answers = decode(image_vectors, [queries[rank] for rank in ranks])
            decoded.update(zip(ranks, answers, strict=True))
    return [decoded[rank] for rank in range(len(queries))]
