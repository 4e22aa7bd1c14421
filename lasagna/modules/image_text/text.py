"""Prompts that put the image first, and what a decoder reads of them: embeddings, positions and a prefix mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lasagna.modules.image_text.families import Family, grid_positions
from lasagna.modules.language_models.base import TokenizerTextProcessor

PREFIX_END = "\n"
"""What ends the prefix, and stands nowhere else in a prompt or an answer."""


@dataclass(frozen=True)
class ImageFirst(TokenizerTextProcessor):
    """A tokeniser that puts the image before all text, wherever the prompt format has it.

    So the image begins at the same position in every row, which positions with three axes are computed from.

    Args:
        enclosing: Tokens before and behind the image; empty where the tokeniser does not know them.
    """

    enclosing: tuple[str, str] = ("", "")

    @property
    def first(self) -> int:
        """Position of the image's first token."""
        start = 0 if self.tokenizer.bos_token_id is None else 1
        return start + len(self._ids(self.enclosing[0]))

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids, with as many image tokens as an image costs."""
        before, image, after = text.partition(self.image_token)
        return super().prompt_ids(f"{self.enclosing[0]}{image}{self.enclosing[1]}{before.strip()}{after}")


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


Arguments = dict[str, Any]


def decoder_input(
    family: Family,
    config: Any,  # noqa: ANN401
    embeddings: Tensor,
    attention_mask: Tensor,
    position_ids: Tensor,
    image: tuple[int, int],
) -> Arguments:
    """Return arguments of the language layers.

    Args:
        family: The model's family.
        config: Config of the language layers.
        embeddings: Float ``[r, t, k*d]``; in a family that reads a prefix in both directions ``[r, t, d+1]``, where the
            last channel is 1 in the prefix, or ``[r, t, d]`` for rows behind it.
        attention_mask: 1 for real tokens, long ``[r, past + t]``.
        position_ids: Long ``[r, t]``.
        image: Position of the image's first token, and image tokens along a side.
    """
    words, *further = embeddings.split(config.hidden_size, -1)
    if family.prefix:
        prefix = further[0][..., 0] > 0 if further else words.new_zeros(words.shape[:2], dtype=torch.bool)
        mask = _as_layers_take_it(prefix_mask(attention_mask, prefix), config, words.dtype)
        return {"inputs_embeds": words, "attention_mask": mask, "position_ids": position_ids + 1}
    positions = grid_positions(position_ids, *image) if family.axes else position_ids
    plain = {"inputs_embeds": words, "attention_mask": attention_mask, "position_ids": positions}
    return plain | _deeper(further)


def _deeper(vectors: Sequence[Tensor]) -> Arguments:
    """Return arguments that add vectors, each ``[r, t, d]``, behind the first, the second and so on layer."""
    if not vectors:
        return {}
    everywhere = torch.ones(vectors[0].shape[:2], dtype=torch.bool, device=vectors[0].device)
    return {"visual_pos_masks": everywhere, "deepstack_visual_embeds": [part.flatten(0, 1) for part in vectors]}


def _as_layers_take_it(mask: Tensor, config: Any, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:  # noqa: ANN401
    if config._attn_implementation == "eager":
        mask = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
    # rows are never longer than a window
    windows = getattr(config, "sliding_window", None) is not None
    return {"full_attention": mask, "sliding_attention": mask} if windows else mask
