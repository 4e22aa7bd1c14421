"""Sizes of SAM's networks: the published ones, and those of a file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lasagna.errors import CheckpointError, ConfigError

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor in SAM's own layout to its shape."""

SOURCE = "weights_file: it"
_REMEDY = "give all files of a complete model, or a SAM checkpoint in its original names"


@dataclass(frozen=True)
class SamSize:
    """Sizes of an image encoder.

    Args:
        embed_dim: Width of its transformer.
        depth: Number of blocks.
        heads: Attention heads of a block.
        global_blocks: Blocks, counted from 0, that attend to all of the image; the others attend within windows.
        mlp_dim: Hidden width of a block's MLP.
        window: Side of a window in cells.
        image_size: Side of the square input in pixels.
        patch: Side of a cell in pixels.
        out_channels: Channels of the output map.
    """

    embed_dim: int = 768
    depth: int = 12
    heads: int = 12
    global_blocks: tuple[int, ...] = (2, 5, 8, 11)
    mlp_dim: int = 3072
    window: int = 14
    image_size: int = 1024
    patch: int = 16
    out_channels: int = 256

    def __post_init__(self) -> None:
        """Check that the sizes are consistent."""
        if self.embed_dim % self.heads:
            raise ConfigError(f"heads: {self.heads} does not divide embed_dim, {self.embed_dim}")
        if self.image_size % self.patch:
            raise ConfigError(f"image_size: {self.image_size} is not a multiple of patch, {self.patch}")
        if any(not 0 <= block < self.depth for block in self.global_blocks):
            raise ConfigError(f"global_blocks: {self.global_blocks} must be from 0 to {self.depth - 1}, depth less one")

    @property
    def grid(self) -> int:
        """Cells along a side of the map."""
        return self.image_size // self.patch


@dataclass(frozen=True)
class SamHeadSize:
    """Sizes of prompt encoder and mask decoder; the same in all published models.

    Args:
        prompt_dim: Width of a prompt, and channels of the image encoder's map.
        depth: Number of two-way blocks.
        heads: Attention heads of a block, which no tensor shape reveals.
        mlp_dim: Hidden width of a block's MLP.
        masks: Number of mask tokens; the first one draws the mask.
        mask_channels: Widest map of the encoder of mask prompts, but for its output.
        iou_dim: Hidden width of the (unused) predictor of mask quality.
        iou_depth: Layers of that predictor.
    """

    prompt_dim: int = 256
    depth: int = 2
    heads: int = 8
    mlp_dim: int = 2048
    masks: int = 4
    mask_channels: int = 16
    iou_dim: int = 256
    iou_depth: int = 3

    def __post_init__(self) -> None:
        """Check that the sizes are consistent."""
        if self.prompt_dim % (2 * self.heads) or self.prompt_dim % 8:
            raise ConfigError(
                f"prompt_dim: {self.prompt_dim} must be a multiple of 8 and of twice the heads, {2 * self.heads}"
            )


PRESETS = {
    "vit_b": SamSize(),
    "vit_l": SamSize(1024, 24, 16, (5, 11, 17, 23), 4096),
    "vit_h": SamSize(1280, 32, 16, (7, 15, 23, 31), 5120),
}
"""Image encoders of the published models."""


def encoder_size(shapes: Shapes, source: str = SOURCE) -> SamSize:
    """Infer an image encoder's sizes from its tensors; relative positions give head width and window of a block.

    Args:
        shapes: The tensors of a complete checkpoint, in SAM's names.
        source: Start of error messages: the setting, and what it names.

    Raises:
        CheckpointError: If tensors that determine a size are missing.
    """
    root = "image_encoder."
    embed_dim, _, patch, _ = _shape(source, shapes, f"{root}patch_embed.proj.weight", 4)
    grid = _shape(source, shapes, f"{root}pos_embed", 4)[1]
    depth = _count(source, shapes, f"{root}blocks.")
    tables = [_shape(source, shapes, f"{root}blocks.{block}.attn.rel_pos_h", 2) for block in range(depth)]
    windows = {(rows + 1) // 2 for rows, _ in tables} - {grid}
    if len(windows) > 1:
        raise CheckpointError(
            f"{source} has windows of several sizes, {sorted(windows)}, but all windows of a SAM have one size"
        )
    return SamSize(
        embed_dim=embed_dim,
        depth=depth,
        heads=embed_dim // tables[0][1],
        global_blocks=tuple(block for block, (rows, _) in enumerate(tables) if rows == 2 * grid - 1),
        mlp_dim=_shape(source, shapes, f"{root}blocks.0.mlp.lin1.weight", 2)[0],
        window=windows.pop() if windows else SamSize.window,
        image_size=grid * patch,
        patch=patch,
        out_channels=_shape(source, shapes, f"{root}neck.0.weight", 4)[0],
    )


def head_size(shapes: Shapes, source: str = SOURCE) -> SamHeadSize:
    """Infer the sizes of prompt encoder and mask decoder from their tensors.

    Args:
        shapes: The tensors of a complete checkpoint, in SAM's names.
        source: Start of error messages: the setting, and what it names.

    Raises:
        CheckpointError: If tensors that determine a size are missing.
    """
    root = "mask_decoder."
    masks, prompt_dim = _shape(source, shapes, f"{root}mask_tokens.weight", 2)
    return SamHeadSize(
        prompt_dim=prompt_dim,
        depth=_count(source, shapes, f"{root}transformer.layers."),
        mlp_dim=_shape(source, shapes, f"{root}transformer.layers.0.mlp.lin1.weight", 2)[0],
        masks=masks,
        mask_channels=_shape(source, shapes, "prompt_encoder.mask_downscaling.3.weight", 4)[0],
        iou_dim=_shape(source, shapes, f"{root}iou_prediction_head.layers.0.weight", 2)[0],
        iou_depth=_count(source, shapes, f"{root}iou_prediction_head.layers."),
    )


def _shape(source: str, shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    if len(shapes.get(name, ())) != axes:
        raise CheckpointError(f"{source} has no tensor {name} of {axes} axes; {_REMEDY}")
    return shapes[name]


def _count(source: str, shapes: Shapes, root: str) -> int:
    found = {name.removeprefix(root).split(".")[0] for name in shapes if name.startswith(root)}
    if not found:
        raise CheckpointError(f"{source} has no {root}*; {_REMEDY}")
    return len(found)
