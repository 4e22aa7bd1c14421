"""Rows whose first part is read in both directions (PaliGemma, arXiv 2407.07726, section 3.2).

Image and question, the prefix, attend to each other whatever their order; what follows attends to what stands before.

Notation: r: rows; t: tokens; past: tokens in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lasagna.modules.image_text.text import ImageFirst

PREFIX_END = "\n"
"""What ends the prefix, and stands nowhere else in a prompt or an answer."""


@dataclass(frozen=True)
class PrefixFirst(ImageFirst):
    """A tokeniser that puts the image first, then the start token, the prompt, and what ends the prefix.

    The last token of the prompt stands behind the end of the prefix: it is read together with the answer, as for all
    models, so that the prefix is the same in training and in decoding.
    """

    @property
    def prefix_end_id(self) -> int:
        """Token that ends the prefix."""
        return self._ids(PREFIX_END)[0]

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids, with as many image tokens as an image costs."""
        before, image, after = text.partition(self.image_token)
        start = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        *asked, last = self.answer_ids(f"{before.strip()}{after}")
        return [*self._ids(image) * self.image_tokens, *start, *asked, *self._ids(PREFIX_END), last]

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer, or a part of one that ends with a special token, into token ids; no end token."""
        return self._ids(text.replace(PREFIX_END, " "))


def prefix_of(input_ids: Tensor, end: int) -> Tensor:
    """Say which tokens belong to the prefix: all to its end, bool ``[r, t]``.

    Args:
        input_ids: Rows that begin with their prefix, long ``[r, t]``.
        end: Token that ends it.
    """
    ends = (input_ids == end).long()
    return ends.cumsum(1) - ends == 0


def prefix_mask(attention_mask: Tensor, prefix: Tensor) -> Tensor:
    """Say which tokens look at which, bool ``[r, 1, t, past + t]``.

    Args:
        attention_mask: 1 for real tokens, long ``[r, past + t]``.
        prefix: Which of the last tokens belong to the prefix, bool ``[r, t]``.
    """
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    asking = places[-prefix.shape[1] :, None]
    whole = torch.nn.functional.pad(prefix, (len(places) - prefix.shape[1], 0))
    seen = (places <= asking) | (prefix[:, :, None] & whole[:, None])
    # padding looks at itself, since a softmax over nothing is no number
    return ((seen & attention_mask[:, None].bool()) | (places == asking))[:, None]
