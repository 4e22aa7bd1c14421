"""Grounded captions: a description of the image in words, with a mask for each phrase that can be pointed at."""

from __future__ import annotations

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import UnionMask
from lasagna.core.query_kind import GROUNDED_CAPTION
from lasagna.core.record import Caption, Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import CaptionBLEU, CaptionCIDEr, MaskRecall, MatchedIoU, PhrasePrecision, collect
from lasagna.tasks.targets import are_visible, choose


class GroundedCaption(Task):
    """Captions of a record, with masks among the words (Rasheed et al., GLaMM, arXiv 2311.03356).

    The answer reads ``a <p>red boat</p> <SEG> on the <p>sea</p> <SEG>``; a phrase that means several objects has the
    union of their masks. Phrases of which all pixels are ignored stay in the text without a mask. Answers are always
    written freely. Scores: mask recall, AP50, mean IoU of matched phrases, BLEU and CIDEr-D.

    Args:
        captions: Maximum number of captions of a record, chosen at random; None for all.
        query: What is to be described, as the prompt words it.
    """

    kinds = (GROUNDED_CAPTION,)

    def __init__(self, captions: int | None = 1, query: str = "the picture") -> None:
        self.captions = captions
        self.query = query

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a dialogue for each chosen caption."""
        return [self._dialogue(caption, record) for caption in choose(record.captions, self.captions, rng)]

    def asks_all(self, record: Record) -> bool:
        """Return whether every caption is asked for."""
        return self.captions is None or len(record.captions) <= self.captions

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return mask recall, AP and AR, mean IoU of matched phrases, BLEU and CIDEr-D; they need no categories."""
        return collect([MaskRecall(), PhrasePrecision(), MatchedIoU(), CaptionBLEU(), CaptionCIDEr()])

    def _dialogue(self, caption: Caption, record: Record) -> Dialogue:
        ignore = record.ignored()
        unions = {
            rank: phrase.masks[0] if len(phrase.masks) == 1 else UnionMask(phrase.masks, shape=record.size)
            for rank, phrase in enumerate(caption.phrases)
        }
        visible = are_visible({str(rank): mask for rank, mask in unions.items()}, ignore)
        entries = [
            Entry(caption.words_of(phrase), True, unions[rank], span=phrase.span)
            for rank, phrase in enumerate(caption.phrases)
            if visible[str(rank)]
        ]
        return Dialogue(GROUNDED_CAPTION, (self.query,), tuple(entries), text=caption.text, ignore=ignore)
