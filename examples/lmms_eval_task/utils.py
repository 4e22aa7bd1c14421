"""What the task reads of a document, which ``write_pictures.py`` has written; the rest is that of lmms-eval's SA-Co."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmms_eval.tasks.saco.utils import (
    IL_FN,
    IL_FP,
    IL_TN,
    IL_TP,
    count_accuracy,
    loc_counts,
    saco_process_results,
    sample_f1,
)
from PIL import Image

__all__ = ["IL_FN", "IL_FP", "IL_TN", "IL_TP", "count_accuracy", "loc_counts", "sample_f1"]

ANNOTATORS = ("human_1_masks", "human_2_masks", "human_3_masks")


def picture(doc: Mapping[str, Any]) -> list[Image.Image]:
    """Return the picture of a document."""
    return [Image.open(doc["image"]).convert("RGB")]


def phrase(doc: Mapping[str, Any]) -> str:
    """Return what is asked for."""
    return str(doc["expression"])


def truth(doc: Mapping[str, Any]) -> list[Any]:
    """Return the true masks, COCO RLE."""
    return list(doc["masks"])


def process(doc: Mapping[str, Any], result: list[str]) -> dict[str, Any]:
    """Return the counts of an answer; the only annotator stands for all three."""
    return dict(saco_process_results({**doc, **dict.fromkeys(ANNOTATORS, doc["masks"])}, result))
