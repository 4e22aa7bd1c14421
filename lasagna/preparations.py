"""What the parts want of images and text: their preparations, which workers apply.

Notation: h, w: size of an image in pixels; H, W: a part's input size in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lasagna.geometry import Geometry
from lasagna.prompt_format import PromptFormat


class ImagePreparation(Protocol):
    """A vision encoder's own resize, padding and normalisation."""

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Say how an image of some height and width will be fitted."""

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image ``[h, w, 3]`` into the encoder's input, float ``[3, H, W]``."""


class TextPreparation(Protocol):
    """A language model's own tokeniser, with the image in its place."""

    @property
    def end_token_id(self) -> int:
        """Token that ends an answer."""

    @property
    def padding_token_id(self) -> int:
        """Token that fills rows up."""

    @property
    def max_length(self) -> int:
        """Longest row the language model takes."""

    @property
    def reserved_tokens(self) -> tuple[str, ...]:
        """Tokens with a meaning of their own, such as the end token, which no name and no answer in words may hold."""

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids: a start token if the model has one, as many image tokens as an image costs."""

    def further_ids(self, text: str) -> list[int]:
        """Turn the prompt of a further round of a talk into token ids: no start token, and no image."""

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer, or a part of one that ends with a special token, into token ids; no end token."""

    def text(self, token_ids: Sequence[int]) -> str:
        """Turn the token ids of an answer back into text; end and padding tokens are left out."""


@dataclass(frozen=True)
class Preparation:
    """All that is needed to turn an image and a dialogue into tensors; small, and safe to send to a worker.

    Args:
        image: Input of the vision encoder.
        text: Input of the language model.
        prompt_format: How queries and answers are written.
        tower: Input of the language model's own visual tower, or None if it reads the vision encoder's features.
    """

    image: ImagePreparation
    text: TextPreparation
    prompt_format: PromptFormat
    tower: ImagePreparation | None = None
