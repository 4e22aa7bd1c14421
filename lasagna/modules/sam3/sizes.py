"""Sizes of SAM 3's image encoder and detector; the defaults are those of the published model."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import Sam3Config, Sam3VisionConfig

from lasagna.errors import ConfigError, check_counts

PATCH, SIDE = 14, 1008
FINER = (4.0, 2.0, 1.0)
"""How much finer than the patches the maps are; SAM 3 has a coarser one too, which its detector does not read."""


@dataclass(frozen=True)
class Sam3Size:
    """Sizes of a vision transformer with windows, and of the pyramid on top of it (arXiv 2511.16719).

    Args:
        width: Width of the transformer.
        depth: Number of blocks.
        heads: Attention heads; each is a multiple of 4 wide.
        mlp_dim: Width inside the MLP of a block.
        window: Side of a window in patches.
        global_blocks: Blocks, counted from 0, that attend to all of the image; the others attend within windows.
        position_side: Side of the learned map of positions in patches, which is repeated over the image.
        out_channels: Channels of the maps.
    """

    width: int = 1024
    depth: int = 32
    heads: int = 16
    mlp_dim: int = 4736
    window: int = 24
    global_blocks: tuple[int, ...] = (7, 15, 23, 31)
    position_side: int = 24
    out_channels: int = 256

    def __post_init__(self) -> None:
        """Check that the sizes are consistent."""
        check_counts(depth=self.depth, heads=self.heads, window=self.window, position_side=self.position_side)
        if self.width % (4 * self.heads):
            raise ConfigError(f"width: {self.width} must be a multiple of 4 times the heads, {4 * self.heads}")
        if not set(self.global_blocks) <= set(range(self.depth)):
            raise ConfigError(f"global_blocks: {self.global_blocks} must be from 0 to {self.depth - 1}")

    def config(self) -> Sam3VisionConfig:
        """Return transformers' settings of an encoder of these sizes."""
        backbone = {
            "model_type": "sam3_vit_model",
            "hidden_size": self.width,
            "intermediate_size": self.mlp_dim,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
            "image_size": SIDE,
            "patch_size": PATCH,
            "window_size": self.window,
            "global_attn_indexes": list(self.global_blocks),
            "pretrain_image_size": PATCH * self.position_side,
        }
        return Sam3VisionConfig(backbone_config=backbone, fpn_hidden_size=self.out_channels)


@dataclass(frozen=True)
class Sam3HeadSize:
    """Sizes of SAM 3's detector (arXiv 2511.16719).

    Args:
        prompt_dim: Width of the detector, and channels of the maps that it reads.
        encoder_layers: Layers in which the image attends to itself and to the prompt.
        decoder_layers: Layers in which the queries attend to each other, to the prompt and to the image.
        heads: Attention heads.
        mlp_dim: Width inside the MLPs.
        masks: Queries, each of which draws a mask.
        dropout: Probability of dropout in training.
    """

    prompt_dim: int = 256
    encoder_layers: int = 6
    decoder_layers: int = 6
    heads: int = 8
    mlp_dim: int = 2048
    masks: int = 200
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Check that the sizes are consistent."""
        check_counts(
            encoder_layers=self.encoder_layers, decoder_layers=self.decoder_layers, heads=self.heads, masks=self.masks
        )
        if self.prompt_dim % self.heads or self.prompt_dim % 8:
            raise ConfigError(f"prompt_dim: {self.prompt_dim} must be a multiple of 8 and of the {self.heads} heads")

    def config(self) -> Sam3Config:
        """Return transformers' settings of a detector of these sizes."""
        shared = {"hidden_size": self.prompt_dim, "num_attention_heads": self.heads}
        detr = shared | {"intermediate_size": self.mlp_dim, "dropout": self.dropout}
        return Sam3Config(
            detr_encoder_config=detr | {"num_layers": self.encoder_layers},
            detr_decoder_config=detr | {"num_layers": self.decoder_layers, "num_queries": self.masks},
            mask_decoder_config=shared,
        )
