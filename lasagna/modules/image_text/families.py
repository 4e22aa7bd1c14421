"""What differs between families of image-text models: the tower's input, the cost of an image, and positions.

Notation: b: images; H, W: input height and width in pixels; i: image tokens; d: hidden size; r: rows; t: tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lasagna.errors import ConfigError

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Family:
    """How a family of models reads an image.

    Args:
        name: What people call it.
        side: From the config, the only height and width of the tower's input in pixels; None if any will do.
        unit: From the config, pixels along a side of an image token.
        arguments: From pixels ``[b, 3, H, W]`` and the config, the arguments of ``get_image_features``.
        enclosing: Tokens before and behind an image, where the family has such.
        axes: Whether positions have three axes (time, row, column), which those in the image differ in.
    """

    name: str
    side: Callable[[Any], int | None]
    unit: Callable[[Any], int]
    arguments: Callable[[Tensor, Any], Arguments]
    enclosing: tuple[str, str] = ("", "")
    axes: bool = False


def family_of(config: Any) -> Family:  # noqa: ANN401
    """Return the family of a model.

    Raises:
        ConfigError: If it is none of those that are known to give the numbers of transformers' own forward.
    """
    if config.model_type not in FAMILIES:
        known = ", ".join(f"{kind} ({family.name})" for kind, family in FAMILIES.items())
        raise ConfigError(f"model: there is no way yet to read a {config.model_type!r}; there are {known}")
    return FAMILIES[config.model_type]


def grid_positions(positions: Tensor, first: int, grid: int) -> Tensor:
    """Give positions three axes, as M-RoPE has them (Qwen2-VL, arXiv 2409.12191, section 2.1).

    Args:
        positions: Positions of tokens in rows whose image is a square of cells, long ``[r, t]``.
        first: Position of the image's first cell, the same in all rows.
        grid: Cells along a side.

    Returns:
        Long ``[3, r, t]``: the same on all axes, but for the cells, whose rows and columns count from ``first``.
    """
    cell = (positions - first).clamp(min=0)
    behind = cell - grid**2
    text = torch.where(positions < first, positions, first + grid + behind)
    inside = (positions >= first) & (behind < 0)
    placed = (torch.zeros_like(cell), cell // grid, cell % grid)
    return torch.stack([torch.where(inside, first + place, text) for place in placed])


def _plain(pixels: Tensor, config: Any) -> Arguments:  # noqa: ANN401
    return {"pixel_values": pixels}


def _listed(pixels: Tensor, config: Any) -> Arguments:  # noqa: ANN401
    # a list of images for each sample, here of one
    return {"pixel_values": pixels[:, None]}


def _patches(pixels: Tensor, config: Any) -> Arguments:  # noqa: ANN401
    """Cut images into patches, those that will become one token beside each other, as Qwen2-VL's processor does."""
    vision = config.vision_config
    patch, merge = vision.patch_size, vision.spatial_merge_size
    count, (height, width) = len(pixels), (side // patch for side in pixels.shape[2:])
    frames = pixels[:, None].expand(-1, vision.temporal_patch_size, -1, -1, -1)
    # [b, time, channel, row of tokens, row in a token, pixel, column of tokens, column in a token, pixel]
    cut = frames.unflatten(4, (width // merge, merge, patch)).unflatten(3, (height // merge, merge, patch))
    flat = cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).flatten(5).flatten(0, 4)
    return {"pixel_values": flat, "image_grid_thw": torch.tensor([[1, height, width]] * count, device=pixels.device)}


def _fixed(config: Any) -> int:  # noqa: ANN401
    side = config.vision_config.image_size
    return int(side[0] if isinstance(side, list | tuple) else side)


def _patch(config: Any) -> int:  # noqa: ANN401
    side = config.vision_config.patch_size
    return int(side[0] if isinstance(side, list | tuple) else side)


FAMILIES = {
    "llava": Family("LLaVA 1.5", _fixed, _patch, _plain),
    "internvl": Family(
        "InternVL", _fixed, lambda config: round(_patch(config) / config.downsample_ratio), _plain, ("<img>", "</img>")
    ),
    "smolvlm": Family("SmolVLM", _fixed, lambda config: _patch(config) * config.scale_factor, _listed),
    "idefics3": Family("Idefics3", _fixed, lambda config: _patch(config) * config.scale_factor, _listed),
    "qwen2_5_vl": Family(
        "Qwen2.5-VL",
        lambda config: None,
        lambda config: _patch(config) * config.vision_config.spatial_merge_size,
        _patches,
        ("<|vision_start|>", "<|vision_end|>"),
        axes=True,
    ),
    "qwen2_vl": Family(
        "Qwen2-VL",
        lambda config: None,
        lambda config: _patch(config) * config.vision_config.spatial_merge_size,
        _patches,
        ("<|vision_start|>", "<|vision_end|>"),
        axes=True,
    ),
}
"""Transformers' model type to its family; each is proven by a test against transformers' own forward."""
