"""Images, encoded once for all that is asked about them.

Notation: b: images; d: hidden size; i: image tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Images, encoded once for all that is asked about them.

    Args:
        features: The vision encoder's maps, each float ``[b, c, h, w]``.
        image_vectors: The images as the language model reads them, float ``[b, i, d]``.
    """

    features: list[Tensor]
    image_vectors: Tensor
