"""What came of decoding one answer, before its masks are drawn.

Notation: k: decisions; d: hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lasagna.core.prompt_format import Fault, ParsedEntry


@dataclass(frozen=True)
class Decoded:
    """A decoded answer.

    Args:
        text: The answer as it was written, without its end token.
        entries: What it says about which names; none for a question.
        faults: What is wrong with it.
        present: For each decision token, in the order written, whether it was the present token.
        scores: Probability of the present token against the absent one at each decision, float ``[k]``.
        hidden: Hidden state that predicted each decision token, float ``[k, d]``.
        forwards: How many forwards after the prompt it took.
    """

    text: str
    entries: tuple[ParsedEntry, ...]
    faults: tuple[Fault, ...]
    present: tuple[bool, ...]
    scores: Tensor
    hidden: Tensor
    forwards: int
