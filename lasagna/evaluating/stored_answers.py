"""Answers as JSON from which every score comes out again as it was.

Masks are COCO RLE. Scores settle overlaps by the probability of each pixel, which is too much to store; instead a mask
that others overlap has a second RLE, "top", of the pixels where it wins. Of equals the first wins, as in the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lasagna.core.dialogue import Answer, AnsweredEntry
from lasagna.core.masks import BoolMask, RLEMask
from lasagna.core.overlaps import TopMap
from lasagna.tasks.metrics.label_maps import top_of


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
    entries, top = [], TopMap(size)
    for rank, entry in enumerate(stored["entries"]):
        entries.append(_answered(entry, size))
        mask = entries[-1].mask if entry.get("top") is None else _decoded(entry["top"], size)
        if mask is not None and entries[-1].present:
            top.add_whole(rank, mask, 0)
    return Answer(str(stored["text"]), tuple(entries), tuple(map(str, stored["faults"])), top)


def _tops(answer: Answer) -> dict[int, RLEMask]:
    """Return for each mask that others overlap where it lies on top."""
    masks = [(rank, entry.mask) for rank, entry in enumerate(answer.entries) if entry.mask is not None]
    if len(masks) < 2:
        return {}
    covered = np.zeros(masks[0][1].shape, dtype=np.uint16)
    for _, mask in masks:
        covered += mask
    contested = covered > 1
    if not contested.any():
        return {}
    ranks = top_of(answer, contested.shape).ranks()
    return {rank: RLEMask.from_array(ranks == rank) for rank, mask in masks if (mask & contested).any()}


def _entry(entry: AnsweredEntry, top: RLEMask | None) -> dict[str, Any]:
    mask = None if entry.mask is None else RLEMask.from_array(entry.mask).to_json()
    plain = {"name": entry.name, "present": entry.present, "score": entry.score, "confidence": entry.confidence}
    return plain | {"mask": mask} | ({} if top is None else {"top": top.to_json()})


def _answered(stored: Mapping[str, Any], size: tuple[int, int]) -> AnsweredEntry:
    name, score, confidence = str(stored["name"]), float(stored["score"]), float(stored["confidence"])
    return AnsweredEntry(name, bool(stored["present"]), score, _decoded(stored.get("mask"), size), confidence)


def _decoded(code: Mapping[str, Any] | Sequence[Any] | None, size: tuple[int, int]) -> BoolMask | None:
    return None if code is None else RLEMask.from_json(code, size).decode()
