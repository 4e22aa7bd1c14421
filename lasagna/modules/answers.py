"""From decisions and mask logits to answers: each mask goes to the decision that prompted it.

Notation: n: masks of one answer; d: hidden size; h', w': the mask head's own size, H, W: the image's, in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lasagna.core.batch import Geometry, restore_logits
from lasagna.core.dialogue import Answer, AnsweredEntry
from lasagna.core.overlaps import TopMap
from lasagna.modules.decoded import Decoded

_PIXELS_HELD = 1 << 20


def mask_states(decoded: Decoded) -> Tensor:
    """Return the hidden states that prompt masks, one for each present entry in the order written, float ``[n, d]``."""
    places = [entry.decision for entry in decoded.entries if entry.present]
    return decoded.hidden[torch.tensor(places, dtype=torch.long, device=decoded.hidden.device)]


def make_answer(
    decoded: Decoded, logits: Tensor, geometry: Geometry, *, threshold: float, settle_overlaps: bool
) -> Answer:
    """Join what was decoded with its masks.

    Args:
        decoded: What was decoded.
        logits: Mask logits prompted by ``mask_states``, float ``[n, h', w']``.
        geometry: How the image was fitted.
        threshold: Probability from which a pixel belongs to a mask.
        settle_overlaps: Whether the answer says which mask lies on top at each pixel: the most probable one, compared
            in half precision, of equals the first.
    """
    if not decoded.entries:
        return Answer(decoded.text, (), decoded.faults)
    scores, top = decoded.scores.tolist(), TopMap(geometry.original) if settle_overlaps else None
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
    """Yield the probability of each pixel, float32 ``[H, W]``, mask by mask; only a few are held at a time."""
    largest = max(map(math.prod, (geometry.padded, geometry.original)))
    for some in logits.split(max(1, _PIXELS_HELD // largest)):
        yield from restore_logits(some, geometry).float().sigmoid().cpu()
