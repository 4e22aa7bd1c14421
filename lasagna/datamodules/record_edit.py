"""Changes to the pixels of a record, applied to its image and to every mask alike.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Phrase, Question, Record, Region

PixelEdit = Callable[[NDArray[Any]], NDArray[Any]]
"""Moves or cuts pixels: takes ``[H, W]`` or ``[H, W, 3]`` and returns the same of the new size, values untouched."""


def edit_record(record: Record, edit: PixelEdit) -> Record:
    """Move or cut the pixels of a record; image, label map, regions, phrases, questions and ignored pixels together.

    A category of which nothing is left is no longer annotated, and where "not annotated" means unknown it is noted as
    absent; one whose mask had no pixel before is noted as unclear. Phrases, questions and the talk stay, with their
    masks moved; whether their words still hold is for the caller to say.

    Args:
        record: The record.
        edit: What happens to the pixels.

    Returns:
        The new record, its image and label map encoded without loss.
    """
    image = edit(record.image())
    labels = None if record.label_map is None else encode_labels(edit(record.label_map.pixels))
    regions = [Region(region.name, edit_mask(region.mask, edit)) for region in record.regions]
    empty = [region.name for region in record.regions if not region.mask.decode().any()]
    edited = replace(
        record,
        image_bytes=encode_image(image),
        size=(image.shape[0], image.shape[1]),
        label_bytes=labels,
        regions=tuple(region for region in regions if region.mask.decode().any()),
        phrases=tuple(_edit_phrase(phrase, edit) for phrase in record.phrases),
        questions=tuple(_edit_question(question, edit) for question in record.questions),
        ignore=None if record.ignore is None else edit_mask(record.ignore, edit),
        unclear=tuple(dict.fromkeys((*record.unclear, *empty))),
    )
    if record.manifest.unannotated == "absent":
        return edited
    left = edited.category_masks()
    told = {*left, *record.absent, *edited.unclear}
    lost = [name for name in record.category_masks() if name not in told]
    return replace(edited, absent=(*record.absent, *lost))


def edit_mask(mask: Mask, edit: PixelEdit) -> RLEMask:
    """Move or cut the pixels of a mask."""
    return RLEMask.from_array(edit(mask.decode()))


def encode_image(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image ``[H, W, 3]`` as BMP, which is lossless and little more than a copy."""
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "BMP")
    return buffer.getvalue()


def encode_labels(pixels: NDArray[Any]) -> bytes:
    """Encode a label map ``[H, W]`` as PNG without compression."""
    kind = np.uint8 if pixels.max(initial=0) < 256 else np.uint16
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels, dtype=kind)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def _edit_phrase(phrase: Phrase, edit: PixelEdit) -> Phrase:
    return replace(phrase, masks=tuple(edit_mask(mask, edit) for mask in phrase.masks))


def _edit_question(question: Question, edit: PixelEdit) -> Question:
    if question.masks is None:
        return question
    return replace(question, masks=tuple(edit_mask(mask, edit) for mask in question.masks))
