"""Questions and answers in varied words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lasagna.core.dialogue import Dialogue
from lasagna.datamodules.strategies import Strategy


class RandomWording(Strategy):
    """Words each question and its answer in one of the ways that the prompt format has, at random.

    Applies to all kinds of queries; nothing changes in a prompt format of one wording. Evaluation goes without it, in
    the first wordings.
    """

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue in wordings of its own."""
        asked, answered = rng.integers(1 << 31, size=2).tolist()
        return replace(dialogue, wording=(asked, answered))
