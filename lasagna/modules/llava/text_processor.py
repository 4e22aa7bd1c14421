"""Tokenisation of prompts and answers for LLaVA v1, with image tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lasagna.modules.llava.tokenizer import LlavaTokenizer

IMAGE_START, IMAGE_END = "<im_start>", "<im_end>"
"""Tokens before and after an image, which have word embeddings."""


def added_tokens(markers: Sequence[str], present: str, absent: str) -> list[str]:
    """Return the tokens to add to a tokeniser, in the original's order: markers, decision tokens, image markers."""
    return [*markers, present, absent, IMAGE_START, IMAGE_END]


@dataclass(frozen=True)
class LlavaTextProcessor:
    """Wraps LLaVA's tokeniser and repeats the image token once per image vector, between start and end.

    Args:
        tokenizer: The tokeniser, including the image token, whose id comes after all words.
        image_token: The image token.
        image_tokens: Number of tokens that stand for an image.
        max_length: Longest row that the language model takes, in tokens.
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
        """Id at the positions of image vectors; it has no row in the word embedding."""
        return self.tokenizer.added[self.image_token]

    @property
    def reserved_tokens(self) -> tuple[str, ...]:
        """Core and added tokens, which keep their meaning wherever they occur in a text."""
        return *self.tokenizer.core, *self.tokenizer.added

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids: ``<s>``, then the text with the image tokens.

        Blanks at the end of a prompt with an image are removed, because the first word of an answer brings its own; a
        line break stays, as does everything in a text without an image.
        """
        parts = text.split(self.image_token)
        parts[-1] = parts[-1].rstrip(" ") if len(parts) > 1 else text
        ids = [int(self.tokenizer.pieces.bos_id())]
        for rank, part in enumerate(parts):
            if rank:
                ids += [self.image_token_id] * self.image_tokens
                part = IMAGE_END + part.removeprefix(IMAGE_END)
            part = part.removesuffix(IMAGE_START) + IMAGE_START if rank < len(parts) - 1 else part
            ids += self.tokenizer.ids(part)
        return ids

    def characters_behind(self, text: str) -> list[int] | None:
        """Return how many characters of a prompt follow each of its tokens, or None if pieces are spelled otherwise."""
        words = text.rpartition(self.image_token)[2]
        asked = IMAGE_END + words.rstrip(" ").removeprefix(IMAGE_END)
        ends = self.tokenizer.ends(asked, self.tokenizer.ids(asked))
        if ends is None:
            return None
        counts = [len(asked) - end + len(words) - len(words.rstrip(" ")) for end in ends]
        return [len(text)] * (len(self.prompt_ids(text)) - len(counts)) + counts

    def further_ids(self, text: str) -> list[int]:
        """Turn the prompt of a later turn of a conversation into token ids, without start token and image."""
        return self.tokenizer.ids(text.rstrip(" "))

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer into token ids, without end token; also a part of one that ends with a special token."""
        return self.tokenizer.ids(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """Turn the token ids of an answer back into text, without start, end and padding tokens."""
        return self.tokenizer.text(token_ids)
