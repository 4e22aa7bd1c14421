"""What mask heads return: any number of masks for each prompt.

Notation: n: mask prompts; k: masks of a prompt; h', w': height and width of the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SURE = 1e-6
"""How close to 0 and 1 a score counts as sure."""


@dataclass(frozen=True)
class MaskPrediction:
    """Any number of masks for each prompt, with a score each.

    Args:
        logits: Mask logits over the whole padded input, float ``[n, k, h', w']``.
        scores: Probability that each mask is one of the objects that its prompt asks for, float ``[n, k]``.
    """

    logits: Tensor
    scores: Tensor

    @classmethod
    def single(cls, logits: Tensor) -> MaskPrediction:
        """Return the prediction of one mask for each prompt, logits ``[n, h', w']``, whose score is 1."""
        return cls(logits[:, None], logits.new_ones((len(logits), 1)))

    @property
    def union(self) -> Tensor:
        """Logits of all that a prompt asks for, float ``[n, h', w']``: the highest of its masks at each pixel.

        A mask counts no more than its score, so that one that is no object adds nothing.
        """
        if self.logits.shape[1] == 1:
            return self.logits[:, 0]
        most = self.scores.float().logit(SURE)[:, :, None, None]
        return torch.minimum(self.logits, most.to(self.logits.dtype)).amax(1)

    def split(self, counts: Sequence[int]) -> list[MaskPrediction]:
        """Return the predictions of groups of prompts.

        Args:
            counts: Number of prompts of each group, in order.
        """
        parts = zip(self.logits.split(list(counts)), self.scores.split(list(counts)), strict=True)
        return [MaskPrediction(*part) for part in parts]
