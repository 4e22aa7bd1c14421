"""Images as the parts of an assistant have encoded them.

Notation: b: images; i: image tokens; d: hidden size; c, h, w: channels, height, width of a map.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class EncodedImages:
    """Images, encoded once for everything that is asked about them.

    Args:
        features: The vision encoder's maps, each float ``[b, c, h, w]``.
        image_vectors: The images as the language model reads them, float ``[b, i, d]``; where several are shown
            together, their vectors follow one another.
    """

    features: list[Tensor]
    image_vectors: Tensor
