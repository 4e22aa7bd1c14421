"""Answers as JSON: names, presence, scores, masks as COCO RLE and bounding boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lasagna.core.dialogue import Answer, AnsweredEntry
from lasagna.core.masks import RLEMask

if TYPE_CHECKING:
    from lasagna.core.batch import Query


def answer_json(query: Query, answer: Answer) -> dict[str, Any]:
    """Return an answer as plain data.

    Args:
        query: What was asked.
        answer: What the assistant answered.

    Returns:
        "kind", "query" (the names asked for), "text" and "faults" of the answer, and its "entries" in order.
    """
    return {
        "kind": query.kind,
        "query": list(query.names),
        "text": answer.text,
        "faults": list(answer.faults),
        "entries": [entry_json(entry) for entry in answer.entries],
    }


def entry_json(entry: AnsweredEntry) -> dict[str, Any]:
    """Return an entry as plain data.

    Args:
        entry: The entry.

    Returns:
        "name", "present", "score" (probability of presence), "confidence" (mean probability inside the mask), "mask"
        (COCO RLE) and "box" (left, top, width, height in pixels); both are None for absent names, and
        the box is None for an empty mask too.
    """
    mask = None if entry.mask is None else RLEMask.from_array(entry.mask)
    return {
        "name": entry.name,
        "present": entry.present,
        "score": round(entry.score, 6),
        "confidence": round(entry.confidence, 6),
        "mask": None if mask is None else mask.to_json(),
        "box": None if mask is None or not np.any(entry.mask) else list(mask.box()),
    }
