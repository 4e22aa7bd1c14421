"""Prompts that put the image first, and the language layers' inputs for them: embeddings, positions, masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lasagna.modules.image_text.families import Family, grid_positions
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
        before, image, after = text.partition(self.image_token)
        return super().prompt_ids(f"{self.enclosing[0]}{image}{self.enclosing[1]}{before.strip()}{after}")


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
        before, image, after = text.partition(self.image_token)
        start = [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]
        *asked, last = self.answer_ids(f"{before.strip()}{after}")
        return [*self._ids(image) * self.image_tokens, *start, *asked, *self._ids(PREFIX_END), last]

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer into token ids, without end token; also a part of one that ends with a special token."""
        return self._ids(text.replace(PREFIX_END, " "))


def prefix_of(input_ids: Tensor, end: int) -> Tensor:
    """Return which tokens belong to the prefix, including its end, bool ``[r, t]``.

    Args:
        input_ids: Rows that start with their prefix, long ``[r, t]``.
        end: Token that ends the prefix.
    """
    ends = (input_ids == end).long()
    return ends.cumsum(1) - ends == 0


def prefix_mask(attention_mask: Tensor, prefix: Tensor) -> Tensor:
    """Return which tokens attend to which, bool ``[r, 1, t, past + t]``.

    Args:
        attention_mask: 1 for real tokens, long ``[r, past + t]``.
        prefix: Which of the last tokens belong to the prefix, bool ``[r, t]``.
    """
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    asking = places[-prefix.shape[1] :, None]
    keys_in_prefix = torch.nn.functional.pad(prefix, (len(places) - prefix.shape[1], 0))
    seen = (places <= asking) | (prefix[:, :, None] & keys_in_prefix[:, None])
    # padding attends to itself, since a softmax over an empty set is not a number
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
    """Return the arguments of the language layers.

    Args:
        family: The model's family.
        config: Config of the language layers.
        embeddings: Float ``[r, t, k*d]``. In a family that reads a prefix in both directions ``[r, t, d+1]``, where the
            last channel is 1 in the prefix, or ``[r, t, d]`` for rows that continue after it.
        attention_mask: 1 for real tokens, long ``[r, past + t]``.
        position_ids: Long ``[r, t]``.
        image: Position of the image's first token, and image tokens along a side.
    """
    words, *further = embeddings.split(config.hidden_size, -1)
    if family.prefix:
        prefix = further[0][..., 0] > 0 if further else words.new_zeros(words.shape[:2], dtype=torch.bool)
        mask: Any = prefix_mask(attention_mask, prefix)
        if config._attn_implementation == "eager":
            mask = torch.zeros(mask.shape, dtype=words.dtype, device=mask.device).masked_fill(
                ~mask, torch.finfo(words.dtype).min
            )
        if getattr(config, "sliding_window", None) is not None:  # rows are never longer than a window
            mask = {"full_attention": mask, "sliding_attention": mask}
        return {"inputs_embeds": words, "attention_mask": mask, "position_ids": position_ids + 1}
    positions = grid_positions(position_ids, *image) if family.axes else position_ids
    arguments: Arguments = {"inputs_embeds": words, "attention_mask": attention_mask, "position_ids": positions}
    if further:  # they are added after the first, the second and further layers
        everywhere = torch.ones(words.shape[:2], dtype=torch.bool, device=words.device)
        arguments["visual_pos_masks"] = everywhere
        arguments["deepstack_visual_embeds"] = [part.flatten(0, 1) for part in further]
    return arguments
