"""Strategies that choose among the wordings of a prompt format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lasagna.core.dialogue import Dialogue
from lasagna.core.prompt_format import PromptFormat
from lasagna.datamodules.strategies import Strategy
from lasagna.errors import ConfigError


class RandomWording(Strategy):
    """Draws one of the prompt format's wordings for each question and its answer.

    It applies to queries of all kinds, and changes nothing if the prompt format has a single wording. Evaluation uses
    the first wordings, unless this is among its strategies.
    """

    words_only = True

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with random wordings."""
        question, answer = rng.integers(1 << 31, size=2).tolist()
        return replace(dialogue, wording=(question, answer))


class FixedWording(Strategy):
    """Asks in one of the prompt format's wordings, such as one that names the data set.

    Data sets that are mixed differ in what they annotate. A wording for each (``further_prompts`` of the prompt format)
    lets the assistant keep their habits apart, and be asked for those of one set (``Query.wording``). It applies to
    queries of all kinds; among the ``evaluation_strategies``, scores are of answers to this wording.

    Args:
        question: Number of the wording of the question: 0 for that of ``prompts``, from 1 those of ``further_prompts``.
        probability: How often; otherwise the question keeps its wording, so that the assistant knows that one too.

    Raises:
        ValueError: If the number is negative, or the probability is not in [0, 1].
    """

    words_only = True

    def __init__(self, question: int, probability: float = 1.0) -> None:
        if question < 0:
            raise ValueError(f"FixedWording: `question` must be a number from 0 on, got {question}")
        if not 0 <= probability <= 1:
            raise ValueError(f"FixedWording: `probability` must be in [0, 1], got {probability}")
        self.question = question
        self.probability = probability

    def check_format(self, prompt_format: PromptFormat) -> None:
        """Check that the prompt format has the wording for some kind; other kinds count theirs from the first again.

        Raises:
            ConfigError: If it has fewer wordings.
        """
        count = 1 + max(map(len, prompt_format.further_prompts.values()), default=0)
        if self.question >= count:
            known = "a single wording" if count == 1 else f"wordings from 0 to {count - 1}"
            raise ConfigError(
                f"FixedWording: `question` is {self.question}, and the prompt format has {known}; lower it, or add "
                "wordings to `further_prompts` of the prompt format"
            )

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with the wording."""
        if rng.random() >= self.probability:
            return dialogue
        return replace(dialogue, wording=(self.question, dialogue.wording[1]))
