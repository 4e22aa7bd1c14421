"""The families of image-text models: how each reads an image, and how it counts tokens and positions.

Notation: b: images; H, W: input height and width in pixels; i: image tokens; d: hidden size; r: rows; t: tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lasagna.errors import ConfigError
from lasagna.modules.image_text.qwen_towers import MergedTower, StackedTower, WindowedTower
from lasagna.modules.image_text.towers import (
    ConnectedTower,
    FinalTower,
    LayerTower,
    LineTower,
    ShuffledTower,
    TowerReading,
    patch_side,
)


@dataclass(frozen=True)
class Family:
    """How a family of models reads an image.

    Args:
        name: Common name of the family.
        side: Takes the config and returns the fixed height and width of the tower's input in pixels, or None if any
            will do.
        unit: Takes the config and returns the pixels along a side of an image token.
        tower: How the tower is read.
        enclosing: Tokens before and after an image, as its processor or its chat template puts them.
        line_end: Whether a learned vector follows those of the image.
        axes: Whether positions have three axes (time, row, column), as in M-RoPE.
        prefix: Whether image and question attend to each other in both directions, with positions from 1.
    """

    name: str
    side: Callable[[Any], int | None]
    unit: Callable[[Any], int]
    tower: TowerReading
    enclosing: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    line_end: bool = False
    axes: bool = False
    prefix: bool = False

    def input_side(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return height and width of the tower's input in pixels: ``image_size``, where the family takes any."""
        return self.side(config) or image_size

    def grid(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return the number of image tokens along a side."""
        return self.input_side(config, image_size) // self.unit(config)

    def image_tokens(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return the number of tokens that stand for an image."""
        return self.grid(config, image_size) ** 2 + self.line_end

    def enclosing_text(self, vocabulary: Collection[str]) -> tuple[str, str]:
        """Return the tokens before and after an image; empty texts where a vocabulary does not have them all."""
        before, after = self.enclosing
        known = all(token in vocabulary for token in (*before, *after))
        return ("".join(before), "".join(after)) if known else ("", "")

    def image_token(self, config: Any, tokenizer: Any) -> str | None:  # noqa: ANN401
        """Return the token that stands for an image in the model's own prompts."""
        number = getattr(config, "image_token_id", None) or config.image_token_index
        token: str | None = tokenizer.convert_ids_to_tokens(number)
        return token


def family_of(config: Any) -> Family:  # noqa: ANN401
    """Return the family of a model.

    Raises:
        ConfigError: If the family is not supported.
    """
    if config.model_type not in FAMILIES:
        known = ", ".join(f"{kind} ({family.name})" for kind, family in FAMILIES.items())
        raise ConfigError(f"model: a {config.model_type!r} is not supported; choose one of {known}")
    return FAMILIES[config.model_type]


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


def _fixed(config: Any) -> int:  # noqa: ANN401
    side = config.vision_config.image_size
    return int(side[0] if isinstance(side, list | tuple) else side)


def _shuffled(config: Any) -> int:  # noqa: ANN401
    ratio: float = config.downsample_ratio
    return round(patch_side(config) / ratio)


def _merged(config: Any) -> int:  # noqa: ANN401
    return int(patch_side(config) * config.vision_config.spatial_merge_size)


def _connected(config: Any) -> int:  # noqa: ANN401
    return int(patch_side(config) * config.scale_factor)


def _qwen(name: str, tower: TowerReading) -> Family:
    return Family(name, lambda config: None, _merged, tower, (("<|vision_start|>",), ("<|vision_end|>",)), axes=True)


_WHOLE = (("<fake_token_around_image>", "<global-img>"), ("<fake_token_around_image>",))
"""What encloses an image that is read as a whole, where models can also read it in parts."""

FAMILIES = {
    "llava": Family("LLaVA 1.5", _fixed, patch_side, LayerTower()),
    "llava_next": Family("LLaVA-NeXT", _fixed, patch_side, LineTower(), line_end=True),
    "llava_onevision": Family("LLaVA-OneVision", _fixed, patch_side, LineTower(), line_end=True),
    "internvl": Family("InternVL", _fixed, _shuffled, ShuffledTower(), (("<img>",), ("</img>",))),
    "smolvlm": Family("SmolVLM", _fixed, _connected, ConnectedTower(), _WHOLE),
    "idefics3": Family("Idefics3", _fixed, _connected, ConnectedTower(), _WHOLE),
    "paligemma": Family("PaliGemma", _fixed, patch_side, FinalTower(), prefix=True),
    "qwen2_vl": _qwen("Qwen2-VL", MergedTower()),
    "qwen2_5_vl": _qwen("Qwen2.5-VL", WindowedTower()),
    "qwen3_vl": _qwen("Qwen3-VL", StackedTower()),
}
"""Transformers' model type to its family; a test compares each with transformers' own forward."""


def check_config(config: Any, image_size: int, max_length: int) -> None:  # noqa: ANN401
    """Check that a model is supported, and that images and rows fit it.

    Args:
        config: The model's config.
        image_size: Height and width of the tower's input in pixels, for families that take any.
        max_length: Longest row of tokens, the image's included.

    Raises:
        ConfigError: If the family is unknown, the patches of its tower form no grid, or a size does not fit.
    """
    family = family_of(config)
    family.tower.check(config)
    side, unit = family.input_side(config, image_size), family.unit(config)
    # a tower of fixed size ignores pixels that fill no patch, as convolutions do
    used = side if family.side(config) is None else side // patch_side(config) * patch_side(config)
    if used < unit or used % unit:
        raise ConfigError(f"image_size: {side} is not a multiple of {unit}, the pixels of an image token")
    tokens = family.image_tokens(config, image_size)
    if max_length <= tokens:
        raise ConfigError(f"max_length: {max_length} leaves no room beside the image's {tokens} tokens; take more")
    window = getattr(config.get_text_config(), "sliding_window", None) if family.prefix else None
    if window is not None and max_length > window:
        raise ConfigError(
            f"max_length: layers of this model attend to the last {window} tokens only, got {max_length}; take at most "
            f"{window}"
        )
