"""SAM 3's detector as a mask head: several masks a prompt, each with a score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recomputed
from transformers import Sam3Config

from lasagna.errors import ConfigError, check_counts
from lasagna.modules.base import FeatureSpec, MaskHead
from lasagna.modules.mask_prediction import MaskPrediction
from lasagna.modules.sam3.detector import Sam3Detector
from lasagna.modules.sam3.sizes import Sam3HeadSize
from lasagna.modules.sam3.weights import filled, read_settings


class Sam3MaskHead(MaskHead):
    """SAM 3's detector, in which each prompt takes the place of the words that SAM 3 reads.

    See arXiv 2511.16719. The score of a mask is the probability that it is what the prompt asks for, times that of
    anything of the kind being in the image. The image attends to each prompt, so that each costs about as much as a
    name costs SAM 3 itself. Boxes are refined by weights that are not trained. Train it with ``ObjectLoss``.

    Args:
        checkpoint: Folder in transformers' layout, of an image or a video model, or a name on the hub
            ("facebook/sam3"). None for random weights.
        size: Custom sizes; None for those of ``checkpoint``, or the published ones.
        prompt_tokens: How many vectors, in the place of as many words, a prompt consists of.
        chunk: Most prompts that are drawn at once, which bounds the memory.
        recompute: Whether the backward pass recomputes the detector, to save memory.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If a number is smaller than 1.
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        size: Sam3HeadSize | None = None,
        prompt_tokens: int = 1,
        chunk: int = 4,
        recompute: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__()
        check_counts(prompt_tokens=prompt_tokens, chunk=chunk)
        self.checkpoint = checkpoint
        self.size = size
        self.prompt_tokens = prompt_tokens
        self.chunk = chunk
        self.recompute = recompute
        self.download = download

    @cached_property
    def config(self) -> Sam3Config:
        """Transformers' settings of the detector; those of ``checkpoint`` are read on first use."""
        if self.size is None and self.checkpoint is not None:
            return read_settings(self.checkpoint, self.download)
        return (self.size or Sam3HeadSize()).config()

    @property
    def width(self) -> int:
        """Width of the detector."""
        return int(self.config.detr_encoder_config.hidden_size)

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt, which is all of its vectors in a row."""
        return self.width * self.prompt_tokens

    @property
    def most_masks(self) -> int:
        """Most masks of a prompt: the detector's queries."""
        return int(self.config.detr_decoder_config.num_queries)

    def build(self, features: FeatureSpec) -> None:
        """Make the layers and load the weights.

        Args:
            features: The vision encoder's maps: a main one, and two of twice and four times its size, all as wide as
                the detector.

        Raises:
            ConfigError: If the maps do not fit, or if ``checkpoint`` is missing or of another kind of model.
            CheckpointError: If ``checkpoint`` is unreadable, incomplete or of other sizes.
        """
        stride = features.strides[0]
        if (features.channels[:3], features.strides[:3]) != ((self.width,) * 3, (stride, stride / 2, stride / 4)):
            raise ConfigError(
                f"mask_head: Sam3MaskHead of width {self.width} needs three maps of as many channels, the second twice "
                f"and the third four times as large as the main one, but the vision encoder gives {features.channels} "
                f"at strides {features.strides}; take a Sam3VisionEncoder, or another mask head"
            )
        if self.checkpoint is None:
            self.detector = Sam3Detector(self.config)
        else:
            self.detector = filled(lambda: Sam3Detector(self.config), self.checkpoint, self.download)

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> MaskPrediction:
        """Draw masks for each prompt ``[n, d]``, logits ``[n, k, 4h, 4w]`` and scores ``[n, k]``."""
        count = prompts.shape[0]
        if not count:
            # a prompt that is not returned, so that each parameter gets a gradient of zeros
            prompts, image_index = torch.cat([prompts, prompts.new_zeros(1, self.prompt_dim)]), image_index.new_zeros(1)
        parts = zip(prompts.split(self.chunk), image_index.split(self.chunk), strict=True)
        drawn = [self._drawn([level[index] for level in features[:3]], part) for part, index in parts]
        logits, scores = (torch.cat(column)[:count] for column in zip(*drawn, strict=True))
        return MaskPrediction(logits, scores)

    def _drawn(self, maps: Sequence[Tensor], prompts: Tensor) -> tuple[Tensor, Tensor]:
        vectors = prompts.unflatten(1, (self.prompt_tokens, self.width))
        if self.recompute and torch.is_grad_enabled():
            masks, fitting, presence = recomputed(self.detector, maps, vectors, use_reentrant=False)
        else:
            masks, fitting, presence = self.detector(maps, vectors)
        return masks, fitting.float().sigmoid() * presence.float().sigmoid()
