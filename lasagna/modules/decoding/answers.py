"""Decoded answers, and the `Answer`s made from them and their masks.

Notation: k: decisions of one answer; n: masks; d: hidden size; h', w': size of the logits; H, W: size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from lasagna.core.dialogue import Answer, AnsweredEntry
from lasagna.core.geometry import Geometry, restore_logits
from lasagna.core.overlaps import OverlapMap
from lasagna.core.prompt_format import Fault, ParsedEntry

_PIXELS_HELD = 1 << 20


@dataclass(frozen=True)
class DecodedAnswer:
    """An answer as the language model decoded it, before its masks are predicted.

    Args:
        text: The answer as written, without its end token.
        entries: What the text says about which names; empty for a question.
        faults: What is wrong with the text.
        present: For each decision token, in the order written, whether it is the present token.
        scores: Probability of the present token against the absent token at each decision, float ``[k]``.
        hidden: Hidden state that predicted each decision token, float ``[k, d]``.
        forwards: Number of forward passes after the prompt.
    """

    text: str
    entries: tuple[ParsedEntry, ...]
    faults: tuple[Fault, ...]
    present: tuple[bool, ...]
    scores: Tensor
    hidden: Tensor
    forwards: int

    @property
    def mask_states(self) -> Tensor:
        """Hidden states that prompt masks, one for each present entry in the order written, float ``[n, d]``."""
        places = [entry.decision for entry in self.entries if entry.present]
        return self.hidden[torch.tensor(places, dtype=torch.long, device=self.hidden.device)]


def make_answer(
    decoded: DecodedAnswer, logits: Tensor, geometry: Geometry, *, threshold: float, overlap_map: bool
) -> Answer:
    """Combine a decoded answer with its masks.

    Args:
        decoded: The decoded answer.
        logits: Mask logits for the prompts ``decoded.mask_states``, float ``[n, h', w']``.
        geometry: How the image was fitted.
        threshold: Probability from which a pixel belongs to a mask.
        overlap_map: Whether to record which mask is on top at each pixel: the most probable one, compared in half
            precision; the first one if several are equal.

    Returns:
        The answer, with masks ``[H, W]``.
    """
    if not decoded.entries:
        return Answer(decoded.text, (), decoded.faults)
    scores, top = decoded.scores.tolist(), OverlapMap(geometry.original) if overlap_map else None
    maps, entries = _probabilities(logits, geometry), []
    for rank, entry in enumerate(decoded.entries):
        score = scores[entry.decision]
        if not entry.present:
            entries.append(AnsweredEntry(entry.name, False, score))
            continue
        probability = next(maps)
        mask = probability.numpy() >= threshold
        confidence = float(probability.numpy()[mask].mean()) if mask.any() else 0.0
        entries.append(AnsweredEntry(entry.name, True, score, mask, confidence))
        if top is not None:
            top.add(rank, mask, probability.half().numpy())
    return Answer(decoded.text, tuple(entries), decoded.faults, top)


def _probabilities(logits: Tensor, geometry: Geometry) -> Iterator[Tensor]:
    """Yield each mask's pixel probabilities, float32 ``[H, W]``, keeping only a few masks in memory at a time."""
    largest = max(map(math.prod, (geometry.padded, geometry.original)))
    for chunk in logits.split(max(1, _PIXELS_HELD // largest)):
        yield from restore_logits(chunk, geometry).float().sigmoid().cpu()
