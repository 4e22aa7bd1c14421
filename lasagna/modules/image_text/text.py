"""Prompts that put the image first."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lasagna.modules.language_models.text_processor import TokenizerTextProcessor

PREFIX_END = "\n"
"""The end of the prefix, which occurs nowhere else in prompts and answers."""


@dataclass(frozen=True)
class ImageFirst(TokenizerTextProcessor):
    """Puts the image before all text, wherever the prompt format has it.

    The image then starts at the same position in every row, from which positions with three axes are computed.

    Args:
        enclosing: Tokens before and after the image; empty where the tokeniser does not know them.
    """

    enclosing: tuple[str, str] = ("", "")

    @property
    def first(self) -> int:
        """Position of the image's first token."""
        start = 0 if self.tokenizer.bos_token_id is None else 1
        return start + len(self._ids(self.enclosing[0]))

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids, with the image tokens first."""
        images, words = divided(text, self.image_token)
        return super().prompt_ids(self.image_token.join(self.enclosing) * images + words)

    def _behind_image(self, text: str) -> list[int]:
        return self._behind(divided(text, self.image_token)[1])


@dataclass(frozen=True)
class PrefixFirst(ImageFirst):
    """Puts the image first, then the start token, the prompt, and the end of the prefix.

    The last token of the prompt comes after the end of the prefix, because it is read together with the answer. The
    prefix is then the same in training and in decoding.
    """

    @property
    def prefix_end_id(self) -> int:
        """Token that ends the prefix."""
        return self._ids(PREFIX_END)[0]

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids, with the image tokens first."""
        images, words = divided(text, self.image_token)
        start = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        *asked, last = self.answer_ids(words)
        return [*self._ids(self.image_token) * self.image_tokens * images, *start, *asked, *self._ids(PREFIX_END), last]

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer into token ids, without end token; also a part of one that ends with a special token."""
        return self._ids(text.replace(PREFIX_END, " "))

    def _behind_image(self, text: str) -> list[int]:
        words = divided(text, self.image_token)[1].replace(PREFIX_END, " ")
        *asked, last = self._behind(words)
        return [*asked, *[last] * len(self._ids(PREFIX_END)), last]


def divided(text: str, image_token: str) -> tuple[int, str]:
    """Return the number of images in a prompt, and its words without them and what stands between them."""
    before, *behind = text.split(image_token)
    return len(behind), before.strip() + "".join(behind[-1:])


def prefix_of(input_ids: Tensor, end: int) -> Tensor:
    """Return which tokens belong to the prefix, including its end, bool ``[r, t]``.

    Args:
        input_ids: Rows that start with their prefix, long ``[r, t]``.
        end: Token that ends the prefix.
    """
    ends = (input_ids == end).long()
    return ends.cumsum(1) - ends == 0
