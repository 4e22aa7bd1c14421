"""Decoded answers, and the `Answer`s made from them and their masks.

Notation: k: decisions of one answer; n: masks; d: hidden size; h', w': size of the logits; H, W: size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Query
from lasagna.core.geometry import Geometry, restore_logits
from lasagna.core.masks import BoolMask
from lasagna.core.overlaps import OverlapMap
from lasagna.core.prompt_format import Fault, ParsedEntry
from lasagna.modules.mask_prediction import MaskPrediction

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant

_PIXELS_HELD = 1 << 20


@dataclass(frozen=True)
class DecodedAnswer:
    """An answer as the language model decoded it, before its masks are predicted.

    Args:
        text: The answer as written, without its end token.
        entries: What the text says about which names; empty for a question.
        faults: What is wrong with the text.
        present: For each decision token, in the order written, whether it is the present token.
        scores: Probability of the present token at each decision, float ``[k]``: against the absent token or, where
            each object has a token, behind the first one against what else may follow.
        hidden: Hidden state that predicted each decision token, float ``[k, d]``.
        forwards: Number of forward passes, also of that which reads only the prompt, if there is one; of a free answer,
            the number of its tokens.
        words: The text without marks and tokens, where masks stand among words.
    """

    text: str
    entries: tuple[ParsedEntry, ...]
    faults: tuple[Fault, ...]
    present: tuple[bool, ...]
    scores: Tensor
    hidden: Tensor
    forwards: int
    words: str = ""

    @property
    def mask_states(self) -> Tensor:
        """Hidden states that prompt masks, one for each token of the present entries, float ``[n, d]``."""
        places = [entry.decision + rank for entry in self.entries if entry.present for rank in range(entry.count)]
        return self.hidden[torch.tensor(places, dtype=torch.long, device=self.hidden.device)]


def make_answer(
    query: Query,
    decoded: DecodedAnswer,
    masks: Tensor | MaskPrediction,
    geometry: Geometry,
    *,
    threshold: float,
    object_threshold: float = 0.5,
    object_overlap: float = 0.6,
    keep_empty: bool = True,
    probabilities: bool = False,
) -> Answer:
    """Combine a decoded answer with its masks.

    The answer to a list of categories records which mask lies on top at each pixel: the one with the highest logit, and
    of equal ones the one asked for first. Probabilities would not tell, since those of sure masks are all rounded to 1.

    Args:
        query: The query.
        decoded: The decoded answer.
        masks: Masks for the prompts ``decoded.mask_states``, or logits of one for each, float ``[n, h', w']``.
        geometry: How the image was fitted.
        threshold: Probability from which a pixel belongs to a mask.
        object_threshold: Score from which a mask is an object, where the query asks for objects.
        object_overlap: Share of the smaller of two masks that lies in the other, from which the one with the lower
            score is left out as a repetition.
        keep_empty: Whether names whose mask has no pixel stay present; otherwise they become absent.
        probabilities: Whether present entries get the probability of each pixel.

    Returns:
        The answer, with masks ``[H, W]``.
    """
    cut = float(torch.tensor(threshold, dtype=torch.double).logit())
    places = {name: place for place, name in enumerate(query.names)}
    scores, top = decoded.scores.tolist(), OverlapMap(geometry.original) if query.kind.many else None
    prediction = masks if isinstance(masks, MaskPrediction) else MaskPrediction.single(masks)
    if query.kind.tokens:
        found = _objects(_by_token(decoded, prediction.union), geometry, cut, 0.0, object_overlap)
    elif query.kind.objects:
        sets = zip(prediction.logits, prediction.scores.float(), strict=True)
        found = _objects(sets, geometry, cut, object_threshold, object_overlap)
    else:
        found = ((restored, (), ()) for restored in _at_image_size(prediction.union, geometry))
    entries = []
    for entry in decoded.entries:
        score = scores[entry.decision]
        if not entry.present:
            entries.append(AnsweredEntry(entry.name, False, score, span=entry.span))
            continue
        restored, parts, certain = next(found)
        logit = restored.numpy()
        mask = logit >= cut
        inside = torch.from_numpy(logit[mask]).sigmoid()
        if not len(inside) and not keep_empty:
            entries.append(AnsweredEntry(entry.name, False, score, span=entry.span))
            continue
        confidence = float(inside.mean()) if len(inside) else 0.0
        probability = restored.sigmoid().half().numpy() if probabilities else None
        weighed = tuple(score * one for one in certain)
        found_entry = AnsweredEntry(entry.name, True, score, mask, confidence, probability, parts, weighed, entry.span)
        entries.append(found_entry)
        if top is not None:
            top.add(places[entry.name], mask, logit)
    if top is not None:
        ranks = np.zeros(len(places), dtype=np.int64)
        ranks[[places[entry.name] for entry in entries]] = np.arange(len(entries))
        top = top.renumbered(ranks)
    return Answer(decoded.text, tuple(entries), decoded.faults, top, decoded.words)


def answer_maker(assistant: Assistant, probabilities: bool = False) -> Callable[..., Answer]:
    """Return ``make_answer`` with the thresholds of an assistant.

    Args:
        assistant: The assistant.
        probabilities: Whether present entries get the probability of each pixel.
    """
    return partial(
        make_answer,
        threshold=assistant.mask_threshold,
        object_threshold=assistant.object_threshold,
        object_overlap=assistant.object_overlap,
        keep_empty=assistant.empty_masks == "present",
        probabilities=probabilities,
    )


Found = tuple[Tensor, tuple[BoolMask, ...], tuple[float, ...]]
"""Logits of a name, float32 ``[H, W]``, and where objects are asked for, their masks and scores."""


def _by_token(decoded: DecodedAnswer, logits: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for each present entry the logits of its tokens, and their probabilities if the name is present at all."""
    first = 0
    for entry in decoded.entries:
        if entry.present:
            certain = decoded.scores[entry.decision : entry.decision + entry.count].float().clone()
            certain[0] = 1
            yield logits[first : first + entry.count], certain.cumprod(0)
            first += entry.count


def _objects(
    sets: Iterable[tuple[Tensor, Tensor]],
    geometry: Geometry,
    cut: float,
    object_threshold: float,
    object_overlap: float,
) -> Iterator[Found]:
    """Yield for each set of masks the highest logits of its objects, with masks and scores, highest score first."""
    for logits, scores in sets:
        kept = (scores >= object_threshold).nonzero()[:, 0]
        scores = scores[kept] * _confidence(logits[kept], cut)
        order = scores.argsort(descending=True, stable=True)
        highest, shown = torch.full(geometry.original, -torch.inf), list[tuple[BoolMask, float]]()
        for logit, score in zip(_at_image_size(logits[kept[order]], geometry), scores[order].tolist(), strict=True):
            mask = logit.numpy() >= cut
            if all(_share(mask, other) < object_overlap for other, _ in shown):
                highest = torch.maximum(highest, logit)
                shown += [(mask, score)] if mask.any() else []
        yield highest, tuple(mask for mask, _ in shown), tuple(score for _, score in shown)


def _confidence(logits: Tensor, cut: float) -> Tensor:
    """Return the mean probability of the pixels inside each mask of ``[k, h', w']``, 0 for empty ones, ``[k]``."""
    inside = (logits >= cut).float()
    return (logits.float().sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)


def _share(mask: BoolMask, other: BoolMask) -> float:
    """Return the share of the smaller of two masks that lies in the larger one."""
    return float((mask & other).sum() / max(1, min(mask.sum(), other.sum())))


def _at_image_size(logits: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """Yield each mask's logits, float32 ``[H, W]``, keeping only a few masks in memory at a time."""
    largest = max(map(math.prod, (geometry.padded, geometry.original)))
    for chunk in logits.split(max(1, _PIXELS_HELD // largest)):
        yield from restore_logits(chunk, geometry).float().cpu()
