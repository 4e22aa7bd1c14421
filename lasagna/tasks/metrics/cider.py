"""CIDEr-D of captions: how many of their groups of words the true ones have, the rarer the more.

Notation: n: captions; a group has one to four words in a row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Dialogue
from lasagna.tasks.metrics.grounding import tokens
from lasagna.tasks.metrics.kept_lines import KeptLines

LONGEST = 4
"""Most words of a group."""

SPREAD = 6.0
"""Difference of lengths, in words, at which a caption loses 39 % of its score."""

Group = tuple[str, ...]


def groups(words: Sequence[str]) -> Counter[Group]:
    """Count the groups of words of a caption.

    Args:
        words: Its words in order.
    """
    return Counter(
        tuple(words[begin : begin + length])
        for length in range(1, LONGEST + 1)
        for begin in range(len(words) - length + 1)
    )


def cider_d(written: Sequence[Sequence[str]], true: Sequence[Sequence[str]]) -> list[float]:
    """Return CIDEr-D of each caption, in [0, 10], by one true caption each (Vedantam et al., arXiv 1411.5726, 7).

    A group weighs the more, the fewer true captions have it. A group that is repeated counts at most as often as in the
    true caption, and captions of another length lose.

    Args:
        written: The words of each caption.
        true: The words of each true caption.
    """
    holders = Counter(group for words in true for group in groups(words))
    rarity = {group: math.log(len(true) / count) for group, count in holders.items()}
    unseen = math.log(len(true)) if true else 0.0
    scores = []
    for one, other in zip(written, true, strict=True):
        length = math.exp(-((len(one) - len(other)) ** 2) / (2 * SPREAD**2))
        first, second = ({g: n * rarity.get(g, unseen) for g, n in groups(words).items()} for words in (one, other))
        likeness = [_likeness(first, second, size) for size in range(1, LONGEST + 1)]
        scores.append(10 * length * sum(likeness) / LONGEST)
    return scores


def _likeness(one: Mapping[Group, float], other: Mapping[Group, float], length: int) -> float:
    """Return the cosine of the weights of groups of a length, those of the first at most as large as the second's."""
    first, second = ({g: w for g, w in weights.items() if len(g) == length} for weights in (one, other))
    norms = math.hypot(*first.values()) * math.hypot(*second.values())
    common = sum(min(weight, second[group]) * second[group] for group, weight in first.items() if group in second)
    return common / norms if norms else 0.0


class CaptionCIDEr(KeptLines):
    """CIDEr-D of the words of captions; higher is better, in [0, 10].

    Protocol ``lasagna-v1``: mean of ``cider_d`` over all captions, each with one true caption, in lower case, without
    punctuation marks, marks of phrases and tokens. How rare a group of words is follows from the true captions that are
    scored, so that scores of different data cannot be compared. COCO's script has several true captions for an image
    and another tokeniser.

    Args:
        decoding: Which answers are scored; captions are always written freely.
    """

    higher_is_better = True
    plot_upper_bound = 10.0

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Keep the words of one caption."""
        self.keep_line([[word for word in tokens(text) if word.isalnum()] for text in (answer.words, dialogue.text)])

    def compute(self) -> dict[str, Tensor]:
        """Return the mean; NaN without a caption."""
        pairs = self.kept()
        scores = cider_d([written for written, _ in pairs], [true for _, true in pairs])
        return {self.key("cider"): torch.tensor(sum(scores) / len(scores) if scores else torch.nan)}
