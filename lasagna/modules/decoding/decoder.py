"""Ways to decode an answer: free, which writes, and those in files of their own, such as ordered, which only decides.

Notation: r: rows (queries); t: tokens; d: hidden size; b: images; i: image tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.dialogue import Decoding
from lasagna.core.image_prompts import prompt_ids
from lasagna.core.processors import TextProcessor
from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import QueryError
from lasagna.modules.base import LanguageModel
from lasagna.modules.decoding.answers import DecodedAnswer
from lasagna.modules.decoding.by_token import decode_by_token
from lasagna.modules.decoding.cache import CachedPrompts, ChatHistory
from lasagna.modules.decoding.one_pass import decode_one_pass
from lasagna.modules.decoding.ordered import decode_ordered
from lasagna.modules.decoding.reading import read_answer
from lasagna.modules.decoding.teacher_forced import decode_teacher_forced
from lasagna.modules.presence_head import PresenceHead


class Decoder:
    """Decodes answers with a language model.

    Queries are checked where they enter (``check_queries``, or when a sample is prepared) and not here again; only
    their length is.

    Args:
        model: The language model.
        prompt_format: How queries and answers are written.
        threshold: Presence score from which ordered decoding says "present"; 0.5 is greedy.
        temperature: Divisor of the logits before they become presence scores; decisions at 0.5 do not change.
        max_new_tokens: Most tokens of a free answer; None for the number that ``free`` states.
        object_threshold: Score from which ordered decoding tells another object of a name; 0.5 is greedy.
        presence_head: What decides on names in one pass, and drafts ordered answers, or None.
        longest_list: Most names of a list that fits; None for as many as the language model takes.
    """

    def __init__(
        self,
        model: LanguageModel,
        prompt_format: PromptFormat,
        threshold: float = 0.5,
        temperature: float = 1.0,
        max_new_tokens: int | None = None,
        object_threshold: float = 0.5,
        presence_head: PresenceHead | None = None,
        longest_list: int | None = None,
    ) -> None:
        self.model = model
        self.format = prompt_format
        self.threshold = threshold
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.object_threshold = object_threshold
        self.presence_head = presence_head
        self.longest_list = longest_list
        self.text: TextProcessor = model.text_processor
        self.present_id = self.text.answer_ids(prompt_format.present_token)[0]
        self.absent_id = self.text.answer_ids(prompt_format.absent_token)[0]
        self.image_id = self.text.answer_ids(prompt_format.image_token)[0]

    def decode(
        self,
        image_vectors: Tensor,
        queries: Sequence[Query],
        decoding: Decoding = "ordered",
        history: ChatHistory | None = None,
    ) -> list[DecodedAnswer]:
        """Decode the answers to queries; those that are decoded in the same way are decoded together.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: What is asked; words, also those with masks among them, are always decoded freely.
            decoding: "ordered", "free", "one_pass", or "teacher_forced", which cannot follow a history.
            history: Previous turns of the conversation that the one query continues, or None.

        Returns:
            One decoded answer for each query.

        Raises:
            QueryError: If a query is longer than the language model takes.
        """
        ways: dict[str, list[int]] = {}
        for rank, query in enumerate(queries):
            chosen: str = "free" if query.kind.is_free else decoding
            ways.setdefault("by_token" if chosen == "ordered" and query.kind.tokens else chosen, []).append(rank)
        decoders = {
            "free": partial(self.free, history=history),
            "ordered": partial(decode_ordered, self, history=history),
            "one_pass": partial(decode_one_pass, self, history=history),
            "teacher_forced": partial(decode_teacher_forced, self),
            "by_token": partial(decode_by_token, self, history=history),
        }
        answers: dict[int, DecodedAnswer] = {}
        for way, ranks in ways.items():
            answers.update(zip(ranks, decoders[way](image_vectors, [queries[rank] for rank in ranks]), strict=True))
        return [answers[rank] for rank in range(len(queries))]

    @torch.no_grad()
    def free(
        self,
        image_vectors: Tensor,
        queries: Sequence[Query],
        max_new_tokens: int | None = None,
        history: ChatHistory | None = None,
    ) -> list[DecodedAnswer]:
        """Write the most probable token at each step until the end token.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: The queries.
            max_new_tokens: Most tokens to write. None for the decoder's own number, or else for 64 for an answer in
                words alone, 256 for words with masks among them, and otherwise twice a complete answer in its
                longest wording, plus 64 for the words behind it. A row never exceeds the language model's longest.
            history: Previous turns of the conversation that the one query continues, or None.

        Returns:
            One decoded answer for each query.

        Raises:
            QueryError: If a query is longer than the language model takes.
        """
        prompts, cached = self.read_prompts(image_vectors, queries, [[]] * len(queries), history)
        limits = [self._limit(query, prompt, max_new_tokens) for query, prompt in zip(queries, prompts, strict=True)]
        written: list[list[int]] = [[] for _ in queries]
        states: list[list[Tensor]] = [[] for _ in queries]
        for tokens, hidden in self._write(cached, prompts, limits):
            for row, token in tokens.items():
                written[row].append(token)
                if token in (self.present_id, self.absent_id):
                    states[row].append(hidden[row])
        if history is not None:
            history.close([*prompts[0], *self._with_end(written[0])], cached)
        nothing = image_vectors.new_zeros(0, self.model.hidden_size)
        return [
            read_answer(self, query, tokens, torch.stack(state) if state else nothing)
            for query, tokens, state in zip(queries, written, states, strict=True)
        ]

    @torch.no_grad()
    def stream(self, image_vectors: Tensor, query: Query, history: ChatHistory | None = None) -> Iterator[str]:
        """Write the most probable token at each step, and yield the text piece by piece.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            query: The query.
            history: Previous turns of the conversation that the query continues, or None.

        Yields:
            Pieces that together are the text that ``free`` returns.

        Raises:
            QueryError: If the query is longer than the language model takes.
        """
        prompts, cached = self.read_prompts(image_vectors, [query], [[]], history)
        limit, written, yielded = self._limit(query, prompts[0], None), list[int](), ""
        for tokens, _ in self._write(cached, prompts, [limit]):
            written.append(tokens[0])
            text = self.text.text(written)
            # A character may take several tokens; the first of them decode to the replacement character.
            if text != yielded and text.startswith(yielded) and not text.endswith("\ufffd"):
                yield text[len(yielded) :]
                yielded = text
        if history is not None:
            history.close([*prompts[0], *self._with_end(written)], cached)

    def fits(self, query: Query) -> bool:
        """Return whether a query and its complete answer fit into the language model, and its list is short enough."""
        if query.kind.many and len(query.names) > (self.longest_list or len(query.names)):
            return False
        return self.length(query) <= self.text.max_length

    def length(self, query: Query) -> int:
        """Return the tokens of a query and its answer, with some room where objects have tokens."""
        answer = [] if query.kind.is_free else self.absent_answer(query)
        # room for a second object of each name, and for all of one name
        more = max(len(query.names), query.kind.tokens) if query.kind.tokens else 0
        return len(self._prompt(query)) + len(answer) + more + 1

    def read_prompts(
        self,
        image_vectors: Tensor,
        queries: Sequence[Query],
        answers: Sequence[list[int]],
        history: ChatHistory | None = None,
        whole: bool = False,
    ) -> tuple[list[list[int]], CachedPrompts]:
        """Check the lengths of prompts and answers, and read the prompts into a cache.

        Unless ``whole``, the last token of each prompt is not read yet: it is read together with the answer, since it
        may already predict a decision.

        Args:
            image_vectors: The images as the language model reads them, float ``[b, i, d]``.
            queries: The queries.
            answers: Token ids of their answers, as far as they are known.
            history: Previous turns of the conversation that the one query continues, or None.
            whole: Whether the last token of each prompt is read too.

        Returns:
            Token ids of everything before each answer, previous turns included, and the cache.

        Raises:
            QueryError: If a query is longer than the language model takes.
        """
        if history is not None and history.ids:
            [query] = queries
            further = self.text.further_ids(self.format.further_prompt(query.kind, query.names))
            prompts = [[*history.ids, *further]]
        else:
            prompts = [self._prompt(query) for query in queries]
        for query, prompt, answer in zip(queries, prompts, answers, strict=True):
            length = len(prompt) + len(answer) + 1
            if length > self.text.max_length:
                raise QueryError(
                    f"query: {len(query.names)} names need {length} tokens with their answer and everything before it, "
                    f"the language model takes {self.text.max_length}; ask for fewer names at a time, show fewer "
                    "images, or begin a new conversation"
                )
        vectors = image_vectors[torch.tensor([query.image for query in queries], device=image_vectors.device)]
        read = prompts if whole else [prompt[:-1] for prompt in prompts]
        if history is not None:
            return prompts, history.open(self.model, read[0], vectors)
        return prompts, CachedPrompts(self.model, read, vectors)

    def _write(
        self, cached: CachedPrompts, prompts: Sequence[list[int]], limits: Sequence[int]
    ) -> Iterator[tuple[dict[int, int], Tensor]]:
        """Yield, step by step, the most probable token of each row that has not ended, and all rows' states ``[r, d]``.

        A row ends with its end token or at its limit.
        """
        coming = [prompt[-1:] for prompt in prompts]
        count = 0
        while any(coming):
            hidden = cached.extend(coming, keep=True)[:, 0]
            logits = self.model.logits(hidden)
            # Never the image token, which stands for vectors. A slice, since its id may lie beyond the vocabulary.
            logits[:, self.image_id : self.image_id + 1] = -torch.inf
            chosen: list[int] = logits.argmax(-1).tolist()
            tokens = {row: chosen[row] for row, tail in enumerate(coming) if tail}
            yield tokens, hidden
            count += 1
            for row, token in tokens.items():
                coming[row] = [] if token == self.text.end_token_id or count >= limits[row] else [token]

    def _limit(self, query: Query, prompt: Sequence[int], max_new_tokens: int | None) -> int:
        max_new_tokens = max_new_tokens or self.max_new_tokens
        if max_new_tokens is None and query.kind.is_free:
            max_new_tokens = 256 if query.kind.grounded else 64
        elif max_new_tokens is None:
            wordings = 1 if query.kind.many else max(1, len(self.format.single_answers))
            longest = max(len(self.absent_answer(query, wording)) for wording in range(wordings))
            max_new_tokens = 2 * longest + 8 + query.kind.tokens * len(query.names) + (64 if query.kind.words else 0)
        return min(self.text.max_length - len(prompt), max_new_tokens)

    def absent_answer(self, query: Query, wording: int = 0) -> list[int]:
        """Return the token ids of the answer that nothing is present."""
        return self.text.answer_ids(self.format.render(query.kind, [(name, False) for name in query.names], wording))

    def _prompt(self, query: Query) -> list[int]:
        return prompt_ids(self.text, self.format, query.kind, query.names, query.wording, query.images)

    def _with_end(self, tokens: list[int]) -> list[int]:
        return tokens if tokens[-1:] == [self.text.end_token_id] else [*tokens, self.text.end_token_id]

    def decision_places(self, tokens: Sequence[int]) -> list[int]:
        """Return the positions of the present and absent tokens among token ids."""
        return [place for place, token in enumerate(tokens) if token in (self.present_id, self.absent_id)]
