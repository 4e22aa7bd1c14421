"""How texts become token ids for a language model whose tokeniser is one of transformers'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class TokenizerTextProcessor:
    """Wraps a tokeniser of transformers and repeats the image token once per image vector.

    Args:
        tokenizer: The tokeniser, with all special tokens added.
        image_token: The image token.
        image_tokens: Number of tokens that stand for an image.
        end_token_id: Token that ends an answer.
        padding_token_id: Token that fills rows up.
        max_length: Longest row that the language model takes, in tokens.
    """

    tokenizer: Any
    image_token: str
    image_tokens: int
    end_token_id: int
    padding_token_id: int
    max_length: int

    @property
    def reserved_tokens(self) -> tuple[str, ...]:
        """The tokeniser's special tokens, which keep their meaning wherever they occur in a text."""
        return tuple(self.tokenizer.all_special_tokens)

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids; each image token is repeated ``image_tokens`` times."""
        before, *behind = text.split(self.image_token)
        ids = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        ids += self._ids(before)
        for words in behind:
            ids += self._ids(self.image_token) * self.image_tokens + self._ids(words)
        return ids

    def further_ids(self, text: str) -> list[int]:
        """Turn the prompt of a later turn of a conversation into token ids, without start token and image."""
        return self._ids(text)

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer into token ids, without end token; also a part of one that ends with a special token."""
        return self._ids(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """Turn the token ids of an answer back into text, without end and padding tokens."""
        kept = [token for token in token_ids if token not in (self.end_token_id, self.padding_token_id)]
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    def characters_behind(self, text: str) -> list[int] | None:
        """Return how many characters of a prompt follow each of its tokens, or None if the tokeniser does not tell."""
        if not getattr(self.tokenizer, "is_fast", False):
            return None
        counts = self._behind_image(text)
        return [len(text)] * (len(self.prompt_ids(text)) - len(counts)) + counts

    def _behind_image(self, text: str) -> list[int]:
        """Return how many characters of a prompt follow each token that comes after all images."""
        return self._behind(text.rpartition(self.image_token)[2])

    def _behind(self, text: str) -> list[int]:
        encoded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return [len(text) - end for _, end in encoded.offset_mapping]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)


@dataclass(frozen=True)
class ChatTextProcessor(TokenizerTextProcessor):
    """Takes prompts as a chat template has rendered them: start token, image and ends of turns are where it put them.

    Args:
        sample: A prompt.
        start_ids: The start token, if it is missing from the prompts.
        enclosing: Tokens around the image.
    """

    sample: str
    start_ids: tuple[int, ...] = ()
    enclosing: tuple[str, str] = ("", "")

    @cached_property
    def first(self) -> int:
        """Position of the image's first token, the same in all prompts."""
        return self.prompt_ids(self.sample).index(self._ids(self.image_token)[0])

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids; each image token is repeated ``image_tokens`` times."""
        # in one piece, since some tokenisers treat the beginning of a text in another way
        ids = self._ids(text.replace(self.image_token, self.image_token.join(self.enclosing)))
        [image] = self._ids(self.image_token)
        repeated = ([token] * (self.image_tokens if token == image else 1) for token in ids)
        return [*self.start_ids, *(token for tokens in repeated for token in tokens)]

    def _behind_image(self, text: str) -> list[int]:
        whole = text.replace(self.image_token, self.image_token.join(self.enclosing))
        [image] = self._ids(self.image_token)
        return self._behind(whole)[-self._ids(whole)[::-1].index(image) :]

    def further_ids(self, text: str) -> list[int]:
        """Turn the prompt of a later turn of a conversation into token ids, as they are behind an answer's end."""
        ids = self._ids(self.tokenizer.convert_ids_to_tokens(self.end_token_id) + text)
        return ids[ids.index(self.end_token_id) + 1 :]
