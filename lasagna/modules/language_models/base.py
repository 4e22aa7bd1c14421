"""What language models share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TokenizerTextProcessor:
    """A transformers tokeniser that repeats the image token as often as an image costs.

    Args:
        tokenizer: The tokeniser, with all special tokens added.
        image_token: The image token.
        image_tokens: How many tokens an image costs.
        end_token_id: Token that ends an answer.
        padding_token_id: Token that fills rows up.
        max_length: Longest row the language model takes.
    """

    tokenizer: Any
    image_token: str
    image_tokens: int
    end_token_id: int
    padding_token_id: int
    max_length: int

    @property
    def reserved_tokens(self) -> tuple[str, ...]:
        """The tokeniser's special tokens, which are read as such wherever they stand in a text."""
        return tuple(self.tokenizer.all_special_tokens)

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids, with as many image tokens as an image costs."""
        before, image, after = text.partition(self.image_token)
        start = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        return start + self._ids(before) + self._ids(image) * self.image_tokens + self._ids(after)

    def further_ids(self, text: str) -> list[int]:
        """Turn the prompt of a further round of a talk into token ids: no start token, and no image."""
        return self._ids(text)

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer, or a part of one that ends with a special token, into token ids; no end token."""
        return self._ids(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """Turn the token ids of an answer back into text; end and padding tokens are left out."""
        kept = [token for token in token_ids if token not in (self.end_token_id, self.padding_token_id)]
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)
