"""Tokenisation of prompts and answers for LLaVA v1, the image in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lasagna.modules.llava.tokenizer import LlavaTokenizer

IMAGE_START, IMAGE_END = "<im_start>", "<im_end>"
"""Tokens around an image, with word embeddings of their own."""


def added_tokens(markers: Sequence[str], present: str, absent: str) -> list[str]:
    """Return what a tokeniser is given, in the original's order: a prompt format's markers and tokens, the image's."""
    return [*markers, present, absent, IMAGE_START, IMAGE_END]


@dataclass(frozen=True)
class LlavaTextProcessor:
    """LLaVA's tokeniser with as many image tokens between ``<im_start>`` and ``<im_end>`` as an image costs.

    Args:
        tokenizer: The tokeniser; it knows the image token too, whose id is behind all words.
        image_token: The image token.
        image_tokens: How many tokens an image costs.
        max_length: Longest row the language model takes.
    """

    tokenizer: LlavaTokenizer
    image_token: str
    image_tokens: int
    max_length: int

    @property
    def end_token_id(self) -> int:
        """``</s>``."""
        return int(self.tokenizer.pieces.eos_id())

    @property
    def padding_token_id(self) -> int:
        """``<unk>``."""
        return int(self.tokenizer.pieces.unk_id())

    @property
    def image_token_id(self) -> int:
        """Id at the places of image vectors; no row of the embedding."""
        return self.tokenizer.added[self.image_token]

    @property
    def reserved_tokens(self) -> tuple[str, ...]:
        """Core and added tokens, which are read as such wherever they stand in a text."""
        return *self.tokenizer.core, *self.tokenizer.added

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids: ``<s>``, then the text with the image in place.

        White space at the end is left out: an answer's first word brings its own blank.
        """
        before, image, after = text.rstrip().partition(self.image_token)
        if image:
            start, end = before.removesuffix(IMAGE_START), after.removeprefix(IMAGE_END)
            before, after = start + IMAGE_START, IMAGE_END + end
        vectors = [self.image_token_id] * self.image_tokens if image else []
        return [int(self.tokenizer.pieces.bos_id()), *self.tokenizer.ids(before), *vectors, *self.tokenizer.ids(after)]

    def further_ids(self, text: str) -> list[int]:
        """Turn the prompt of a further round of a talk into token ids: no start token, and no image."""
        return self.tokenizer.ids(text.rstrip())

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer, or a part of one that ends with a special token, into token ids; no end token."""
        return self.tokenizer.ids(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """Turn the token ids of an answer back into text; start, end and padding tokens are left out."""
        return self.tokenizer.text(token_ids)
