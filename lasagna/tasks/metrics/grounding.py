"""Scores of captions with masks for their phrases: masks that were found, their overlap, and the words.

Notation: n: true phrases; m: answered phrases; H, W: height and width of the image in pixels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.text import BLEUScore

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.masks import BoolMask, RLEMask
from lasagna.tasks.metrics.average_precision import AveragePrecision, annotation
from lasagna.tasks.metrics.base import DialogueMetric, answered_mask, image_size, ratio
from lasagna.tasks.metrics.phrase_iou import grefcoco_iou, overlap

LEAST = 0.5
"""IoU, and share of common words, from which a phrase counts as found."""

ARTICLES = frozenset({"a", "an", "the"})


def phrase_ious(dialogue: Dialogue, answer: Answer) -> NDArray[np.float64]:
    """Return the IoU of each true with each answered phrase, float ``[n, m]``; ignored pixels are left out.

    Args:
        dialogue: The query and the truth.
        answer: The answer of the assistant.
    """
    size = image_size(dialogue, answer) or (0, 0)
    nothing: BoolMask = np.zeros(size, dtype=bool)
    ignore = None if dialogue.ignore is None else dialogue.ignore.decode()
    true = [nothing if entry.mask is None else entry.mask.decode() for entry in dialogue.entries]
    claimed = [answered_mask(entry, size) for entry in answer.entries]
    found = [nothing if mask is None else mask for mask in claimed]
    ious = [[grefcoco_iou(overlap(one, other, ignore, target=True)) for other in found] for one in true]
    return np.array(ious, dtype=np.float64).reshape(len(true), len(found))


def matched(ious: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Yield pairs of a true and an answered phrase, each at most once, the highest IoU first, as long as it is above 0.

    Args:
        ious: IoU of each pair, float ``[n, m]``; pairs that may not be matched have 0.
    """
    left = ious.copy()
    while left.size and left.max() > 0:
        one, other = divmod(int(left.argmax()), left.shape[1])
        yield one, other
        left[one], left[:, other] = 0, 0


def common_words(one: str, other: str) -> float:
    """Return the share of words that two phrases have in common: twice their number by that of both, without articles.

    Args:
        one: A phrase.
        other: Another one.
    """
    words, others = (Counter(word for word in tokens(text) if word not in ARTICLES) for text in (one, other))
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 1.0


def tokens(text: str) -> list[str]:
    """Return the words and punctuation marks of a text in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.casefold())


def caption_quality(dialogue: Dialogue, answer: Answer) -> float:
    """Return the summed IoU of matched phrases by the larger number of phrases, in [0, 1]; 1 if there are none.

    Args:
        dialogue: The query and the truth.
        answer: The answer of the assistant.
    """
    ious = phrase_ious(dialogue, answer)
    return sum(float(ious[pair]) for pair in matched(ious)) / max(ious.shape) if max(ious.shape) else 1.0


class PhrasePrecision(AveragePrecision):
    """AP and AR of the masks of a caption, whatever their phrases say; higher is better, in [0, 1].

    Protocol ``glamm`` (github mbzuai-oryx/groundingLMM, ``eval/gcg/evaluate.py``; arXiv 2311.03356): COCO's own code
    with one category and the score 1 for every mask, so that AP falls with each mask too many. Ignored pixels are a
    region with ``iscrowd``; GLaMM's data has none.

    Args:
        decoding: Which answers are scored; captions are always written freely.
    """

    protocol = "glamm"
    coco_format = ""

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(("phrase",), decoding)

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Keep the true and the answered masks of one image."""
        true = [annotation(1, entry.mask, crowd=False) for entry in dialogue.entries if entry.mask is not None]
        true += [] if dialogue.ignore is None else [annotation(1, dialogue.ignore, crowd=True)]
        codes = [RLEMask.from_array(entry.mask).to_json() for entry in answer.entries if entry.mask is not None]
        self.keep(true, [{"category_id": 1, "segmentation": code, "score": 1.0} for code in codes])


class MatchedIoU(DialogueMetric):
    """Mean over images of the mean IoU of matched phrases; higher is better, in [0, 1].

    Protocol ``glamm`` (github mbzuai-oryx/groundingLMM, ``eval/gcg/evaluate.py``): true and answered masks are paired
    one to one, the highest IoU first, whatever their phrases say; masks without a pair do not count, and an image
    without a pair has 0.

    Args:
        decoding: Which answers are scored; captions are always written freely.
    """

    protocol = "glamm"
    higher_is_better = True
    plot_upper_bound = 1.0
    iou: Tensor
    images: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("iou", dtype=torch.float64)
        self.add_sum("images")

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count one caption."""
        ious = phrase_ious(dialogue, answer)
        found = [float(ious[pair]) for pair in matched(ious)]
        self.iou += float(np.mean(found)) if found else 0.0
        self.images += 1

    def compute(self) -> dict[str, Tensor]:
        """Return the mean."""
        return {self.key("matched_iou"): ratio(self.iou, self.images)}


class MaskRecall(DialogueMetric):
    """Share of true phrases that an answer finds; higher is better, in [0, 1].

    Protocol ``lasagna-v1``: a phrase is found by an answered phrase whose mask has an IoU of at least 0.5 with its own,
    and half of whose words are its own (twice the number of common words by the number of both phrases' words, without
    articles); each answered phrase finds at most one, the highest IoU first. GLaMM (arXiv 2311.03356) compares phrases
    by a language model's embeddings instead, and ends an image at its first pair of phrases that are not alike.

    Args:
        decoding: Which answers are scored; captions are always written freely.
    """

    higher_is_better = True
    plot_upper_bound = 1.0
    found: Tensor
    phrases: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("found")
        self.add_sum("phrases")

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the phrases of one caption."""
        ious = phrase_ious(dialogue, answer)
        for one, entry in enumerate(dialogue.entries):
            for other, claim in enumerate(answer.entries):
                if ious[one, other] < LEAST or common_words(entry.name, claim.name) < LEAST:
                    ious[one, other] = 0
        self.found += len(list(matched(ious)))
        self.phrases += len(dialogue.entries)

    def compute(self) -> dict[str, Tensor]:
        """Return the share."""
        return {self.key("mask_recall"): ratio(self.found, self.phrases)}


class CaptionBLEU(DialogueMetric):
    """BLEU of the words of captions, with up to four words in a row; higher is better, in [0, 1].

    Protocol ``lasagna-v1``: ``torchmetrics.text.BLEUScore`` over all captions, each with one true caption, in lower
    case and with punctuation marks as words; marks and tokens do not count.

    Args:
        decoding: Which answers are scored; captions are always written freely.
    """

    higher_is_better = True
    plot_upper_bound = 1.0
    captions: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.bleu = BLEUScore()
        self.add_sum("captions")

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count one caption."""
        written, true = (" ".join(tokens(text)) for text in (answer.words, dialogue.text))
        self.bleu.update([written], [[true]])
        self.captions += 1

    def compute(self) -> dict[str, Tensor]:
        """Return BLEU."""
        return {self.key("bleu"): self.bleu.compute() if self.captions else torch.tensor(torch.nan)}

    def reset(self) -> None:
        """Forget all captions."""
        super().reset()
        self.bleu.reset()
