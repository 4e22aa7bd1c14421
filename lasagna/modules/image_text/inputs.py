"""What the language layers of image-text models read: embeddings, positions and masks.

Notation: r: rows; t: tokens; k: vectors of an image token; d: hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lasagna.modules.image_text.family import Family

Arguments = dict[str, Any]


@dataclass(frozen=True)
class ImagePlace:
    """Where the image stands, which is the same in all rows of one image.

    Args:
        first: Position of its first token.
        tokens: Number of its tokens.
        grid: Image tokens along a side.
    """

    first: int
    tokens: int
    grid: int


def decoder_input(
    family: Family,
    config: Any,  # noqa: ANN401
    embeddings: Tensor,
    attention_mask: Tensor,
    position_ids: Tensor,
    image: ImagePlace,
) -> Arguments:
    """Return the arguments of the language layers.

    Args:
        family: The model's family.
        config: Config of the language layers.
        embeddings: Float ``[r, t, k*d]``. In a family that reads a prefix in both directions ``[r, t, d+1]``, where the
            last channel is 1 in the prefix, or ``[r, t, d]`` for rows that continue after it. In other families, a
            last channel numbers the images of rows with several, see ``numbered``.
        attention_mask: 1 for real tokens, long ``[r, past + t]``.
        position_ids: Long ``[r, t]``, or with three axes ``[3, r, t]`` where rows may hold several images.
        image: Where the image stands.
    """
    embeddings, numbers = (embeddings, None) if family.prefix else numbered(embeddings, config.hidden_size)
    words, *further = embeddings.split(config.hidden_size, -1)
    arguments = {"inputs_embeds": words, "attention_mask": attention_mask, "position_ids": position_ids}
    if family.prefix:
        prefix = further[0][..., 0] > 0 if further else words.new_zeros(words.shape[:2], dtype=torch.bool)
        mask = layer_masks(config, attention_mask, prefix, words.dtype)
        return arguments | {"attention_mask": mask, "position_ids": position_ids + 1}
    if family.mutual:
        inside = (position_ids >= image.first) & (position_ids < image.first + image.tokens)
        together = inside if numbers is None else numbers > 0 if family.across else numbers
        arguments["attention_mask"] = layer_masks(config, attention_mask, together, words.dtype)
    if family.axes and position_ids.ndim == 2:
        arguments["position_ids"] = grid_positions(position_ids, image.first, image.grid)
    if further:  # they are added after the first, the second and further layers
        everywhere = torch.ones(words.shape[:2], dtype=torch.bool, device=words.device)
        arguments["visual_pos_masks"] = everywhere
        arguments["deepstack_visual_embeds"] = [part.flatten(0, 1) for part in further]
    return arguments


def layer_masks(config: Any, attention_mask: Tensor, mutual: Tensor, dtype: torch.dtype) -> Any:  # noqa: ANN401
    """Return the masks of the language layers, as transformers takes them.

    Args:
        config: Config of the language layers.
        attention_mask: 1 for real tokens, long ``[r, past + t]``.
        mutual: Which of the last tokens attend to each other in both directions: those of one number, if it is not 0,
            ``[r, t]``.
        dtype: Precision of the layers.

    Returns:
        One mask ``[r, 1, t, past + t]``, or one for each kind of layer where some look back a window only.
    """
    mask, window = mutual_mask(attention_mask, mutual), getattr(config, "sliding_window", None)
    if window is None:
        return _as_scores(mask, config, dtype)
    places = attention_mask.cumsum(1)
    near = places[:, -mutual.shape[1] :, None] - places[:, None] < window
    return {
        "full_attention": _as_scores(mask, config, dtype),
        "sliding_attention": _as_scores(mask & near[:, None], config, dtype),
    }


def mutual_mask(attention_mask: Tensor, mutual: Tensor) -> Tensor:
    """Return which tokens attend to which, bool ``[r, 1, t, past + t]``.

    Args:
        attention_mask: 1 for real tokens, long ``[r, past + t]``.
        mutual: Which of the last tokens attend to each other in both directions: those of one number, if it is not 0,
            ``[r, t]``.
    """
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    asking = places[-mutual.shape[1] :, None]
    asked = torch.nn.functional.pad(mutual, (len(places) - mutual.shape[1], 0))
    seen = (places <= asking) | ((mutual[:, :, None] == asked[:, None]) & (asked[:, None] != 0))
    # padding attends to itself, since a softmax over an empty set is not a number
    return ((seen & attention_mask[:, None].bool()) | (places == asking))[:, None]


def grid_positions(positions: Tensor, first: int, grid: int) -> Tensor:
    """Give positions three axes, as M-RoPE has them (Qwen2-VL, arXiv 2409.12191, section 2.1).

    Args:
        positions: Positions of tokens in rows whose image is a square of cells, long ``[r, t]``.
        first: Position of the image's first cell, the same in all rows.
        grid: Cells along a side.

    Returns:
        Long ``[3, r, t]``: equal on all axes, except for the cells, whose rows and columns count from ``first``.
    """
    cell = (positions - first).clamp(min=0)
    behind = cell - grid**2
    text = torch.where(positions < first, positions, first + grid + behind)
    inside = (positions >= first) & (behind < 0)
    placed = (torch.zeros_like(cell), cell // grid, cell % grid)
    return torch.stack([torch.where(inside, first + place, text) for place in placed])


def numbered(embeddings: Tensor, hidden_size: int) -> tuple[Tensor, Tensor | None]:
    """Return embeddings without their last channel, and what it holds: the number of each token's image.

    Args:
        embeddings: Float ``[r, t, k*d]``, or ``[r, t, k*d+1]`` with that channel.
        hidden_size: The width d.

    Returns:
        Float ``[r, t, k*d]``, and long ``[r, t]``: numbers of images from 1, and 0 elsewhere; None without the channel.
    """
    if embeddings.shape[2] % hidden_size != 1:
        return embeddings, None
    return embeddings[..., :-1], embeddings[..., -1].long()


def with_numbers(embeddings: Tensor, inside: Tensor, tokens: int) -> Tensor:
    """Return embeddings with a last channel as ``numbered`` reads it.

    Args:
        embeddings: Float ``[r, t, k*d]``.
        inside: Which tokens are those of images, bool ``[r, t]``.
        tokens: Number of tokens of an image.
    """
    numbers = inside * ((inside.long().cumsum(1) - 1) // tokens + 1)
    return torch.cat([embeddings, numbers[..., None].to(embeddings.dtype)], -1)


def shifted_positions(positions: Tensor, numbers: Tensor | None, grid: int, cache: Any) -> Tensor:  # noqa: ANN401
    """Return positions with three axes where rows hold several images, and else the positions as they are.

    Args:
        positions: Positions of tokens, long ``[r, t]``.
        numbers: Number of each token's image, as of ``numbered``, or None.
        grid: Cells along a side.
        cache: Key-value cache, which keeps how far the images of a prompt shift what follows, or None.
    """
    if numbers is not None:
        cells = (numbers > 0).sum(1)
        if cache is not None:
            cache.image_shift = cells // grid - cells
        return several_positions(positions, numbers > 0, grid)
    shift = getattr(cache, "image_shift", None)
    return positions if shift is None else (positions + shift[:, None]).expand(3, -1, -1)


def several_positions(positions: Tensor, inside: Tensor, grid: int) -> Tensor:
    """Give positions three axes in rows of any number of images, as ``grid_positions`` does for one.

    Args:
        positions: Positions of tokens, long ``[r, t]``.
        inside: Which of them are cells of images, bool ``[r, t]``.
        grid: Cells along a side.

    Returns:
        Long ``[3, r, t]``.
    """
    before = inside.long().cumsum(1) - inside.long()
    cell = torch.where(inside, before % grid**2, 0)
    start = positions - before + (before - cell) // grid
    return torch.stack([start, start + cell // grid, start + cell % grid])


def _as_scores(mask: Tensor, config: Any, dtype: torch.dtype) -> Tensor:  # noqa: ANN401
    """Return a mask as attention that is not fused takes it: 0 where a token is seen, and else the lowest number."""
    if config._attn_implementation != "eager":
        return mask
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)
