"""Sizes of SAM 2's image encoders: the published ones, and those of a file of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transformers import Sam2HieraDetConfig, Sam2VisionConfig

from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.sam.sizes import SamHeadSize

Name = Literal["hiera_tiny", "hiera_small", "hiera_base_plus", "hiera_large"]
Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor in the networks to its shape."""


@dataclass(frozen=True)
class Sam2Size:
    """Sizes of a Hiera encoder of four stages with its pyramid (arXiv 2306.00989; arXiv 2408.00714, appendix D).

    Args:
        embed_dim: Width of the first stage; each stage is twice as wide as the one before it.
        heads: Attention heads of the first stage; each stage has twice as many as the one before it.
        blocks: Number of blocks of each stage.
        windows: Side of a window in cells, in each stage.
        global_blocks: Blocks, counted from 0, that attend to all of the image; the others attend within windows.
        position_side: Side of the learned map of positions, which is interpolated to the image.
        out_channels: Channels of the pyramid, and of the main map.
    """

    embed_dim: int = 96
    heads: int = 1
    blocks: tuple[int, int, int, int] = (1, 2, 7, 2)
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    global_blocks: tuple[int, ...] = (5, 7, 9)
    position_side: int = 7
    out_channels: int = 256

    def __post_init__(self) -> None:
        """Check that the sizes are consistent."""
        if self.embed_dim % self.heads:
            raise ConfigError(f"heads: {self.heads} does not divide embed_dim, {self.embed_dim}")
        if any(side < 2 or side % 2 for side in self.windows[:3]):
            raise ConfigError(
                f"windows: the first three of {self.windows} must be even, because the next stage halves them"
            )
        starts = {sum(self.blocks[:stage]) for stage in (1, 2, 3)}
        if not starts.isdisjoint(self.global_blocks) or not set(self.global_blocks) <= set(range(sum(self.blocks))):
            raise ConfigError(
                f"global_blocks: {self.global_blocks} must be from 0 to {sum(self.blocks) - 1}, and none that begins a "
                f"later stage {tuple(sorted(starts))}, since these halve their windows"
            )
        if self.out_channels % 8:
            raise ConfigError(
                f"out_channels: {self.out_channels} must be a multiple of 8, the finest map having an eighth"
            )

    def config(self) -> Sam2VisionConfig:
        """Return transformers' settings of an encoder of these sizes."""
        widths = [self.embed_dim * 2**stage for stage in range(4)]
        hiera = Sam2HieraDetConfig(
            hidden_size=self.embed_dim,
            num_attention_heads=self.heads,
            embed_dim_per_stage=widths,
            num_attention_heads_per_stage=[self.heads * 2**stage for stage in range(4)],
            blocks_per_stage=list(self.blocks),
            window_size_per_stage=list(self.windows),
            global_attention_blocks=list(self.global_blocks),
            window_positional_embedding_background_size=[self.position_side] * 2,
        )
        return Sam2VisionConfig(
            backbone_config=hiera, backbone_channel_list=widths[::-1], fpn_hidden_size=self.out_channels
        )


PRESETS: dict[str, Sam2Size] = {
    "hiera_tiny": Sam2Size(),
    "hiera_small": Sam2Size(blocks=(1, 2, 11, 2), global_blocks=(7, 10, 13)),
    "hiera_base_plus": Sam2Size(112, 2, (2, 3, 16, 3), global_blocks=(12, 16, 20), position_side=14),
    "hiera_large": Sam2Size(144, 2, (2, 6, 36, 4), (8, 4, 16, 8), (23, 33, 43)),
}
"""Image encoders of the published models, the same in SAM 2 and SAM 2.1."""


def published_size(shapes: Shapes) -> Sam2Size:
    """Return the published encoder that has tensors of these shapes.

    Heads, windows and global blocks cannot be inferred from shapes.

    Raises:
        CheckpointError: If there is none.
    """
    root = "vision_encoder.backbone."
    width = shapes.get(f"{root}patch_embed.projection.weight", (0,))[0]
    depth = len({name.split(".")[3] for name in shapes if name.startswith(f"{root}blocks.")})
    for size in PRESETS.values():
        if (size.embed_dim, sum(size.blocks)) == (width, depth):
            return size
    raise CheckpointError(
        f"checkpoint: an image encoder of width {width} with {depth} blocks is not one of {', '.join(PRESETS)}; "
        "give its sizes by `size`"
    )


def decoder_size(shapes: Shapes) -> SamHeadSize:
    """Infer a mask decoder's sizes from its tensors, with the published number of heads, which no shape reveals.

    Raises:
        CheckpointError: If tensors that determine a size are missing.
    """
    root = "mask_decoder."
    names = (f"{root}mask_tokens.weight", f"{root}transformer.layers.0.mlp.lin1.weight")
    missing = [name for name in names if len(shapes.get(name, ())) != 2]
    if missing:
        raise CheckpointError(f"checkpoint: there is no mask decoder of SAM 2, since {missing[0]} is missing")
    masks, prompt_dim = shapes[names[0]]
    blocks = {name.split(".")[3] for name in shapes if name.startswith(f"{root}transformer.layers.")}
    narrow = shapes.get("prompt_encoder.mask_downscaling.3.weight", (SamHeadSize.mask_channels,))[0]
    return SamHeadSize(prompt_dim, len(blocks), mlp_dim=shapes[names[1]][0], masks=masks, mask_channels=narrow)
