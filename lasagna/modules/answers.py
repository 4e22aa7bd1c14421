"""From decisions and mask logits to answers: each mask goes to the decision that prompted it.

Notation: n: masks of one answer; d: hidden size; h', w': the mask head's own size in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.batch import Geometry, restore_logits
from lasagna.dialogue import Answer, AnsweredEntry
from lasagna.modules.decoding import Decoded


def mask_states(decoded: Decoded) -> Tensor:
    """Return the hidden states that prompt masks, one for each present entry in the order written, float ``[n, d]``."""
    places = [entry.decision for entry in decoded.entries if entry.present]
    return decoded.hidden[torch.tensor(places, dtype=torch.long, device=decoded.hidden.device)]


def make_answer(
    decoded: Decoded, logits: Tensor, geometry: Geometry, *, threshold: float, keep_probability: bool
) -> Answer:
    """Join what was decoded with its masks.

    Args:
        decoded: What was decoded.
        logits: Mask logits prompted by ``mask_states``, float ``[n, h', w']``.
        geometry: How the image was fitted.
        threshold: Probability from which a pixel belongs to a mask.
        keep_probability: Whether the entries keep the probability of each pixel.
    """
    if not decoded.entries:
        return Answer(decoded.text, (), decoded.faults)
    scores = decoded.scores.tolist()
    masks = iter(restore_logits(logits, geometry).float().sigmoid().cpu().numpy())
    entries = [
        _present(entry.name, scores[entry.decision], next(masks), threshold, keep_probability)
        if entry.present
        else AnsweredEntry(entry.name, False, scores[entry.decision])
        for entry in decoded.entries
    ]
    return Answer(decoded.text, tuple(entries), decoded.faults)


def _present(name: str, score: float, probability: NDArray[np.float32], threshold: float, keep: bool) -> AnsweredEntry:
    mask = probability >= threshold
    confidence = float(probability[mask].mean()) if mask.any() else 0.0
    return AnsweredEntry(name, True, score, mask, confidence, probability.astype(np.float16) if keep else None)
