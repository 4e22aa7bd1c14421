"""Mask2Former's decoders as a mask head on any vision encoder: several masks a prompt, each with a score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed
from transformers import Mask2FormerConfig

from lasagna.errors import check_counts
from lasagna.modules.base import FeatureSpec, MaskHead
from lasagna.modules.mask2former.decoders import Mask2FormerDecoders
from lasagna.modules.mask2former.pyramid import Pyramid
from lasagna.modules.mask2former.sizes import Mask2FormerSize
from lasagna.modules.mask2former.weights import load_into, read_settings
from lasagna.modules.mask_prediction import MaskPrediction


class Mask2FormerHead(MaskHead):
    """Mask2Former's pixel decoder and transformer decoder, with the prompt added to the queries.

    See arXiv 2112.01527; X-SAM (arXiv 2508.04655) has the same decoders behind a language model. The pixel decoder runs
    once for each image, and the queries of each prompt attend to its maps. A layer of its own scores the queries, since
    classes are the language model's matter. Maps that the vision encoder lacks are made (``Pyramid``). Train it with
    ``ObjectLoss``.

    Args:
        checkpoint: Folder in transformers' layout, or a name on the hub, such as
            "facebook/mask2former-swin-base-coco-panoptic". None for random weights. Layers that read the maps of the
            encoder are random where its channels are others than there.
        size: Custom sizes; None for those of ``checkpoint``, or the published ones.
        chunk: Most prompts that are drawn at once, which bounds the memory.
        recompute: Whether the backward pass recomputes the transformer decoder, to save memory.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If ``chunk`` is smaller than 1.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        size: Mask2FormerSize | None = None,
        chunk: int = 8,
        recompute: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__()
        check_counts(chunk=chunk)
        self.checkpoint = checkpoint
        self.size = size
        self.chunk = chunk
        self.recompute = recompute
        self.download = download

    @cached_property
    def config(self) -> Mask2FormerConfig:
        """Transformers' settings of the decoders; those of ``checkpoint`` are read on first use."""
        if self.size is None and self.checkpoint is not None:
            return read_settings(self.checkpoint, self.download)
        return (self.size or Mask2FormerSize()).config()

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return int(self.config.hidden_dim)

    @property
    def most_masks(self) -> int:
        """Most masks of a prompt: the decoder's queries."""
        return int(self.config.num_queries)

    def build(self, features: FeatureSpec) -> None:
        """Make the layers for the vision encoder's maps and load the weights.

        Raises:
            ConfigError: If ``checkpoint`` is missing or of another kind of model.
            CheckpointError: If ``checkpoint`` is unreadable, incomplete or of other sizes.
        """
        self.pyramid = Pyramid(features, self.config.feature_size)
        self.decoders = Mask2FormerDecoders(self.config, self.pyramid.channels)
        self.score = nn.Linear(self.prompt_dim, 1)
        if self.checkpoint is not None:
            load_into(self.decoders, self.checkpoint, self.download)

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> MaskPrediction:
        """Draw masks for each prompt ``[n, d]``, logits ``[n, k, h, w]`` of the finest map and scores ``[n, k]``."""
        count = prompts.shape[0]
        if not count:
            # a prompt that is not returned, so that each parameter gets a gradient of zeros
            prompts, image_index = torch.cat([prompts, prompts.new_zeros(1, self.prompt_dim)]), image_index.new_zeros(1)
        finest, levels = self.decoders.pixels(self.pyramid(features))
        parts = zip(prompts.split(self.chunk), image_index.split(self.chunk), strict=True)
        drawn = [self._drawn(finest[index], [level[index] for level in levels], part) for part, index in parts]
        logits, states = (torch.cat(column)[:count] for column in zip(*drawn, strict=True))
        return MaskPrediction(logits, self.score(states)[..., 0].float().sigmoid())

    def _drawn(self, finest: Tensor, levels: Sequence[Tensor], prompts: Tensor) -> tuple[Tensor, Tensor]:
        if self.recompute and torch.is_grad_enabled():
            drawn: tuple[Tensor, Tensor] = recomputed(self.decoders.draw, finest, levels, prompts, use_reentrant=False)
            return drawn
        return self.decoders.draw(finest, levels, prompts)
