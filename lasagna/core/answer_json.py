"""Answers as plain data: this package's own JSON, and COCO's results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.tiled_answers import PackedEntry, TiledAnswer, packed_mask, packed_masks
from lasagna.errors import QueryError

if TYPE_CHECKING:
    from lasagna.core.batch import Query


def answer_json(query: Query, answer: Answer) -> dict[str, Any]:
    """Return an answer as plain data.

    Args:
        query: The query.
        answer: The assistant's answer.

    Returns:
        "kind", "query" (the names asked for), "text" and "faults" of the answer, and its "entries" in order. Where
        masks stand among words, also "words", the text without marks and tokens. Of an answer in tiles, also "tiles":
        top, left, height and width of each.
    """
    plain: dict[str, Any] = {
        "kind": query.kind,
        "query": list(query.names),
        "text": answer.text,
        "faults": list(answer.faults),
        "entries": [entry_json(entry) for entry in answer.entries],
    }
    if isinstance(answer, TiledAnswer):
        plain["tiles"] = [[tile.top, tile.left, tile.height, tile.width] for tile in answer.tiles]
    return plain | ({"words": answer.words} if query.kind.grounded else {})


def entry_json(entry: AnsweredEntry) -> dict[str, Any]:
    """Return an entry as plain data.

    Args:
        entry: The entry.

    Returns:
        "name", "present", "score" (probability of presence), "confidence" (mean probability inside the mask), "empty"
        (called present, but the mask has no pixel), "mask" (COCO RLE) and "box" (left, top, width, height in pixels).
        Mask and box are None for absent names, and the box is None for an empty mask too. Where objects are told apart,
        also "objects": "mask", "box" and "score" of each. Where masks stand among words, also "span": begin and end of
        the name in the words. Of an answer in tiles, also "tiles", the numbers of those in which the name is present,
        and "tile_scores", the probability of presence in each.
    """
    mask = packed_mask(entry)
    coded = list(zip(packed_masks(entry), entry.scores, strict=True)) if entry.apart else []
    objects = [{"mask": one.to_json(), "box": list(one.box()), "score": round(score, 6)} for one, score in coded]
    plain = {
        "name": entry.name,
        "present": entry.present,
        "score": _rounded(entry.score),
        "confidence": _rounded(entry.confidence),
        "empty": entry.empty,
        "mask": None if mask is None else mask.to_json(),
        "box": None if mask is None or entry.box is None else list(mask.box()),
    }
    more: dict[str, Any] = {"objects": objects} if objects else {}
    if entry.span is not None:
        more["span"] = list(entry.span)
    if isinstance(entry, PackedEntry):
        more["tiles"] = list(entry.present_tiles)
        more["tile_scores"] = [_rounded(score) for score in entry.tile_scores]
    return plain | more


def _rounded(value: float) -> float | None:
    """Return a number for JSON, which has none that is not finite."""
    return round(value, 6) if math.isfinite(value) else None


def coco_results(answer: Answer, image_id: int, categories: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the masks of an answer as COCO's results; see ``Answer.to_coco``."""
    present = [entry for entry in answer.entries if entry.present]
    missing = [entry.name for entry in present if entry.name not in categories]
    if missing:
        raise QueryError(f"categories: no id for {missing}; give one for every present name")
    return [
        {
            "image_id": image_id,
            "category_id": categories[entry.name],
            "segmentation": mask.to_json(),
            "score": score,
        }
        for entry in present
        for mask, score in zip(packed_masks(entry), entry.scores, strict=True)
    ]
