"""Answers in the forms of other tools: LabelMe's shapes, YOLO's lines, label images, supervision's detections.

Sources: ``wkentaro/labelme``, ``label_file.py`` and ``utils/shape.py``; the data set pages of docs.ultralytics.com
("Instance Segmentation Datasets"); the colour map of PASCAL VOC's development kit; ``roboflow/supervision``,
``detection/core.py``.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_parser import normalise
from lasagna.core.masks import BoolMask
from lasagna.core.outlines import border_polygons, polygons_of
from lasagna.errors import QueryError

if TYPE_CHECKING:
    from supervision import Detections

LABELS = 255
"""Most names of a label image with a palette; 0 is what has no name."""


def labelme_json(answer: Answer, image: str, size: tuple[int, int]) -> dict[str, Any]:
    """Return an answer as the content of a LabelMe file; see ``Answer.to_labelme``."""
    shapes = [
        _shape(entry.name, polygon, group)
        for entry, mask, group in _objects(answer)
        for polygon in border_polygons(mask)
    ]
    return {
        "version": "5.5.0",
        "flags": {entry.name: entry.present for entry in answer.entries},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }


def _shape(name: str, polygon: Sequence[float], group: int) -> dict[str, Any]:
    points = np.reshape(polygon, (-1, 2)).tolist()
    return {"label": name, "points": points, "group_id": group, "shape_type": "polygon", "flags": {}}


def _objects(answer: Answer) -> list[tuple[AnsweredEntry, BoolMask, int]]:
    """Return each mask with its entry and a number of its own."""
    found = [(entry, mask) for entry in answer.entries if entry.present for mask in entry.masks]
    return [(entry, mask, rank) for rank, (entry, mask) in enumerate(found)]


def yolo_lines(answer: Answer, names: Sequence[str]) -> list[str]:
    """Return an answer as the lines of a YOLO file; see ``Answer.to_yolo``."""
    numbers = numbers_of(answer, names)
    return [
        " ".join([str(numbers[normalise(entry.name)]), *_fractions(mask)])
        for entry, mask, _ in _objects(answer)
        if mask.any()
    ]


def _fractions(mask: BoolMask) -> list[str]:
    """Return the corners of a mask's parts as one polygon, which walks to each further part and back."""
    first, *further = (np.reshape(polygon, (-1, 2)) for polygon in polygons_of(mask))
    joined = np.concatenate([first, *(part for other in further for part in (other, first[:1]))])
    return [f"{place:.6g}" for place in (joined / mask.shape[::-1]).ravel()]


def numbers_of(answer: Answer, names: Sequence[str]) -> dict[str, int]:
    """Return the position of each name, in the spelling that answers are compared in.

    Args:
        answer: The answer.
        names: All names, in order.

    Raises:
        QueryError: If a present name is not among them.
    """
    numbers = {normalise(name): number for number, name in reversed([*enumerate(names)])}
    strange = [entry.name for entry in answer.entries if entry.present and normalise(entry.name) not in numbers]
    if strange:
        raise QueryError(f"names: {strange} of the answer are not among the {len(names)} given; add them")
    return numbers


def label_image(answer: Answer, names: Sequence[str] | None, size: tuple[int, int] | None) -> Image.Image:
    """Return an answer as a label image with a palette; see ``Answer.to_label_image``."""
    asked = names if names is not None else [entry.name for entry in answer.entries]
    numbers_of(answer, asked)
    if len(asked) > LABELS:
        raise QueryError(f"names: {len(asked)} do not fit into a label image of 8 bits; give at most {LABELS}")
    image = Image.fromarray((answer.label_map(asked, size) + 1).astype(np.uint8), "P")
    image.putpalette(voc_palette().ravel().tolist())
    return image


def voc_palette() -> NDArray[np.uint8]:
    """Return the 256 colours of PASCAL VOC, uint8 ``[256, 3]``: black first, neighbours far apart."""
    values = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((values >> channel & 1) << 7 - bit).astype(np.uint8)
        values >>= 3
    return colours


def supervision_detections(answer: Answer, names: Sequence[str] | None) -> Detections:
    """Return an answer as detections of ``supervision``; see ``Answer.to_supervision``."""
    try:
        from supervision import Detections
    except ImportError as error:
        raise QueryError("to_supervision: the package supervision is not installed; pip install supervision") from error

    asked = names if names is not None else [entry.name for entry in answer.entries]
    numbers, found = numbers_of(answer, asked), [(entry, mask) for entry, mask, _ in _objects(answer) if mask.any()]
    if not found:
        return Detections.empty()
    masks = np.stack([mask for _, mask in found])
    scores = [score for entry in answer.entries if entry.present for score in entry.scores]
    return Detections(
        xyxy=np.array([_corners(mask) for mask in masks], dtype=np.float32),
        mask=masks,
        confidence=np.array(scores, dtype=np.float32),
        class_id=np.array([numbers[normalise(entry.name)] for entry, _ in found]),
        data={"class_name": np.array([entry.name for entry, _ in found])},
    )


def _corners(mask: BoolMask) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a mask; right and bottom lie behind its last pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
