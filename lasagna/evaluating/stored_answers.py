"""Answers as JSON from which every score comes out again as it was.

Masks are COCO RLE. Scores settle overlaps by the probability of each pixel, which is too much to store; instead a mask
that others overlap has a second RLE, "top", of the pixels where it wins. Of equals the first wins, as in the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lasagna.dialogue import Answer, AnsweredEntry
from lasagna.masks import RLEMask
from lasagna.tasks.metrics.label_maps import Claim, paint_claims


def to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain data."""
    tops = _tops(answer)
    entries = [_entry(entry, tops.get(rank)) for rank, entry in enumerate(answer.entries)]
    return {"text": answer.text, "faults": list(answer.faults), "entries": entries}


def from_json(stored: Mapping[str, Any], size: tuple[int, int]) -> Answer:
    """Return a stored answer.

    Args:
        stored: What ``to_json`` returned.
        size: Height and width of its image.

    Raises:
        RecordError: If a mask is none, or of another size.
        KeyError, TypeError, ValueError: If it is otherwise no stored answer.
    """
    entries = tuple(_answered(entry, size) for entry in stored["entries"])
    return Answer(str(stored["text"]), entries, tuple(map(str, stored["faults"])))


def _tops(answer: Answer) -> dict[int, RLEMask]:
    """Return for each mask that others overlap where it lies on top."""
    claims = [
        Claim(
            rank, entry.mask, float(entry.confidence or entry.score) if entry.probability is None else entry.probability
        )
        for rank, entry in enumerate(answer.entries)
        if entry.present and entry.mask is not None
    ]
    if len(claims) < 2:
        return {}
    covered = np.zeros(claims[0].mask.shape, dtype=np.uint16)
    for claim in claims:
        covered += claim.mask
    contested = covered > 1
    if not contested.any():
        return {}
    labels = paint_claims(claims, claims[0].mask.shape, len(answer.entries))
    touched = [claim for claim in claims if (claim.mask & contested).any()]
    return {claim.label: RLEMask.from_array(labels == claim.label) for claim in touched}


def _weight(entry: AnsweredEntry) -> NDArray[np.float16] | float:
    return float(entry.confidence or entry.score) if entry.probability is None else entry.probability


def _entry(entry: AnsweredEntry, top: RLEMask | None) -> dict[str, Any]:
    mask = None if entry.mask is None else RLEMask.from_array(entry.mask).to_json()
    plain = {"name": entry.name, "present": entry.present, "score": entry.score, "confidence": entry.confidence}
    return plain | {"mask": mask} | ({} if top is None else {"top": top.to_json()})


def _answered(stored: Mapping[str, Any], size: tuple[int, int]) -> AnsweredEntry:
    mask, top = (_decoded(stored.get(part), size) for part in ("mask", "top"))
    probability = None if top is None else np.where(top, np.float16(1), np.float16(0))
    name, score, confidence = str(stored["name"]), float(stored["score"]), float(stored["confidence"])
    return AnsweredEntry(name, bool(stored["present"]), score, mask, confidence, probability)


def _decoded(code: Mapping[str, Any] | Sequence[Any] | None, size: tuple[int, int]) -> Any:  # noqa: ANN401
    return None if code is None else RLEMask.from_json(code, size).decode()
