"""Precision, recall, F1, false-positive rate and correlation of presence decisions, and AUROC of their scores."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import DialogueMetric, answered_by_name, entries_by_name, ratio

_LOGIT = 20.0
"""Logit beyond which presence scores are not told apart."""

_BINS = 2001
"""Equal bins of the logits between."""


def presence_counts(dialogue: Dialogue, answer: Answer) -> tuple[int, int, int, int]:
    """Count the names of a query by truth and answer.

    A name is present if the dialogue has a present entry for it, and called present if the answer has one. A name
    without an entry is absent. Names outside the query do not count.

    Returns:
        Present names called present, absent ones called present, present ones not, and absent ones not.
    """
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    counts = [0, 0, 0, 0]
    for name in map(normalise, dialogue.query):
        present = name in truth and truth[name].present
        called = name in answered and answered[name].present
        counts[2 * (not called) + (not present)] += 1
    return counts[0], counts[1], counts[2], counts[3]


def presence_scores(counts: Tensor) -> dict[str, Tensor]:
    """Turn counts into scores.

    Args:
        counts: True positives, false positives, false negatives and true negatives, integer ``[..., 4]``.

    Returns:
        Quantity to float ``[...]``, NaN where there is nothing to measure.
    """
    hits, false_alarms, misses, rejections = counts.unbind(-1)
    return {
        "presence_precision": ratio(hits, hits + false_alarms),
        "presence_recall": ratio(hits, hits + misses),
        "presence_f1": ratio(2 * hits, 2 * hits + false_alarms + misses),
        "false_positive_rate": ratio(false_alarms, false_alarms + rejections),
        "il_mcc": matthews(counts),
    }


def matthews(counts: Tensor) -> Tensor:
    """Return Matthews' correlation of truth and decisions.

    Args:
        counts: True positives, false positives, false negatives and true negatives, integer ``[..., 4]``.

    Returns:
        Float ``[...]`` in [-1, 1]: 0 where all names are present, all absent, or all decided alike; NaN without names.
    """
    hits, false_alarms, misses, rejections = counts.double().unbind(-1)
    margins = (hits + false_alarms) * (hits + misses) * (rejections + false_alarms) * (rejections + misses)
    correlation = (hits * rejections - false_alarms * misses) / margins.sqrt().clamp(min=1)
    return torch.where(counts.sum(-1) > 0, correlation, torch.nan).float()


def score_bins(scores: Sequence[float]) -> Tensor:
    """Return the bin of the logit of each presence score, long ``[n]``; one that is no number counts as 0."""
    logits = torch.tensor(scores, dtype=torch.float64).nan_to_num(0.0).clamp(0, 1).logit().clamp(-_LOGIT, _LOGIT)
    return ((logits + _LOGIT) / (2 * _LOGIT) * (_BINS - 1)).round().long()


def area(histograms: Tensor) -> Tensor:
    """Return the area under the ROC curve of two histograms.

    Args:
        histograms: Numbers of absent and of present names by bin, integer ``[2, bins]``.

    Returns:
        Float scalar: the chance that a present name scores above an absent one, half where both are in one bin; NaN
        without names of both sorts.
    """
    absent, present = histograms
    # counted in whole numbers: a GPU has no deterministic running sum of floats
    below = absent.cumsum(0) - absent
    won = (present * (below + absent.double() / 2)).sum()
    return ratio(won, absent.sum().double() * present.sum())


class Presence(DialogueMetric):
    """Precision, recall and F1 of presence, the false-positive rate on absent names, Matthews correlation, and AUROC.

    Protocol ``lasagna-v1``: every name of every query counts once (micro average), borrowed names included. A name that
    a free answer leaves out is not called present. Precision, recall and F1 (van Rijsbergen) are those of the class
    "present"; higher is better. The false-positive rate is the share of absent names that are called present; lower is
    better. These are in [0, 1]. The Matthews correlation, SA-Co's "IL_MCC" (arXiv 2511.16719), is in [-1, 1], and 0 for
    an assistant that calls everything present. The area under the ROC curve is that of the scores, 0.5 by chance. It
    has no threshold; that of the answer changes it only where later decisions read earlier ones. A name that a free
    answer leaves out scores 0.

    Args:
        decoding: Which answers are scored.
    """

    higher_is_better = None
    plot_upper_bound = 1.0
    counts: Tensor
    histograms: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("counts", 4)
        self.add_sum("histograms", 2, _BINS)

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the names of one query."""
        self.counts += torch.tensor(presence_counts(dialogue, answer), device=self.counts.device)
        truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
        names = list(map(normalise, dialogue.query))
        present = torch.tensor([name in truth and truth[name].present for name in names]).long()
        bins = score_bins([answered[name].score if name in answered else 0.0 for name in names])
        one = torch.ones_like(bins, device=self.histograms.device)
        self.histograms.index_put_((present.to(one.device), bins.to(one.device)), one, accumulate=True)

    def compute(self) -> dict[str, Tensor]:
        """Return precision, recall, F1, false-positive rate, Matthews correlation and AUROC."""
        scores = presence_scores(self.counts) | {"presence_auroc": area(self.histograms)}
        return {self.key(quantity): score for quantity, score in scores.items()}


class PresenceByLength(DialogueMetric):
    """The scores of decisions of ``Presence`` by length of the query (protocol ``lasagna-v1``).

    Args:
        lengths: The longest query of each group but the last, ascending: 4 and 8 make the groups "names-1-4",
            "names-5-8" and "names-9-up".
        decoding: Which answers are scored.

    Raises:
        ValueError: If the lengths are empty, not positive or not ascending.
    """

    higher_is_better = None
    plot_upper_bound = 1.0
    counts: Tensor

    def __init__(self, lengths: Sequence[int], decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.lengths = tuple(lengths)
        if not self.lengths or self.lengths[0] < 1 or list(self.lengths) != sorted(set(self.lengths)):
            raise ValueError(f"lengths: {list(lengths)} must be whole numbers from 1, ascending, e.g. [4, 8, 16]")
        self.add_sum("counts", len(self.lengths) + 1, 4)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups, from short to long."""
        starts = [1, *(length + 1 for length in self.lengths)]
        ends = [*map(str, self.lengths), "up"]
        return tuple(f"names-{start}-{end}" for start, end in zip(starts, ends, strict=True))

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the names of one query in the group of its length."""
        group = bisect_left(self.lengths, len(dialogue.query))
        self.counts[group] += torch.tensor(presence_counts(dialogue, answer), device=self.counts.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores of each group."""
        scores = presence_scores(self.counts)
        return {
            self.key(quantity, group): values[rank]
            for quantity, values in scores.items()
            for rank, group in enumerate(self.groups)
        }
