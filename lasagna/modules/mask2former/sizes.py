"""Sizes of Mask2Former's decoders; the defaults are those of the published models."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import Mask2FormerConfig

from lasagna.errors import ConfigError, check_counts

GROUPS = 32
"""Groups of the group norms."""


@dataclass(frozen=True)
class Mask2FormerSize:
    """Sizes of the pixel decoder and of the transformer decoder (arXiv 2112.01527, section 4.1).

    Args:
        width: Width of both decoders, and of a prompt.
        pixel_layers: Layers of deformable attention on the three coarsest maps.
        layers: Layers of masked attention, which take turns at these maps.
        heads: Attention heads of both decoders.
        pixel_mlp_dim: Width inside the MLPs of the pixel decoder.
        mlp_dim: Width inside those of the transformer decoder.
        masks: Queries, each of which draws a mask.
    """

    width: int = 256
    pixel_layers: int = 6
    layers: int = 9
    heads: int = 8
    pixel_mlp_dim: int = 1024
    mlp_dim: int = 2048
    masks: int = 100

    def __post_init__(self) -> None:
        """Check that the sizes are consistent."""
        check_counts(pixel_layers=self.pixel_layers, layers=self.layers, heads=self.heads, masks=self.masks)
        if self.width % GROUPS or self.width % self.heads:
            raise ConfigError(f"width: {self.width} must be a multiple of {GROUPS} and of the {self.heads} heads")

    def config(self) -> Mask2FormerConfig:
        """Return transformers' settings of decoders of these sizes."""
        return Mask2FormerConfig(
            feature_size=self.width,
            mask_feature_size=self.width,
            hidden_dim=self.width,
            encoder_layers=self.pixel_layers,
            # transformers counts the prediction before the first layer too
            decoder_layers=self.layers + 1,
            num_attention_heads=self.heads,
            encoder_feedforward_dim=self.pixel_mlp_dim,
            dim_feedforward=self.mlp_dim,
            num_queries=self.masks,
        )
