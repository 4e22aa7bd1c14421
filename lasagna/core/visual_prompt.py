"""Points, boxes and an earlier mask beside the words of a query, in pixels of the original image.

Notation: H, W: height and width of the image or of the encoder's input in pixels; p: points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.geometry import Geometry
from lasagna.core.masks import Mask
from lasagna.errors import QueryError

LABELS = ("positive", "negative")

SURE = 10.0
"""Logit of a sure pixel of an earlier mask, as SAM 2 has it for masks that a user gives (arXiv 2408.00714)."""

Point = tuple[float, float] | tuple[float, float, str]
"""Column and row of a pixel, and "positive" (the default: it belongs to the object) or "negative"."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels, as ``AnsweredEntry.box`` and COCO have it."""


@dataclass(frozen=True)
class FittedPrompt:
    """Points, at most one box and an earlier mask in the vision encoder's input.

    Args:
        points: Column and row of each point in pixels of the input, float32 ``[p, 2]``.
        positive: Whether each point belongs to the object, bool ``[p]``.
        box: Left, top, right and bottom in pixels of the input, float32 ``[4]``, or None.
        mask: Logits of the earlier mask, float32 ``[H, W]`` of the padded input, or None.
    """

    points: Tensor
    positive: Tensor
    box: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True, eq=False)
class VisualPrompt:
    """Says where something is, beside the words of a query or instead of them.

    Args:
        points: Points in the image, each ``(x, y)`` or ``(x, y, "negative")``: column and row, counted from 0.
        boxes: Boxes around it, each left, top, width and height, as in ``AnsweredEntry.box``. Several boxes are drawn
            one by one, each with all points and the mask, and their union is the answer.
        mask: A mask to be mended, of the image's own size: an array ``[H, W]``, bool or probabilities in [0, 1], or a
            coded mask; for instance ``mask`` or ``probability`` of an ``AnsweredEntry``.

    Raises:
        QueryError: If it is empty, a point or a box is no such numbers, or a label is neither "positive" nor
            "negative".
    """

    points: Sequence[Point] = ()
    boxes: Sequence[Box] = ()
    mask: NDArray[Any] | Mask | None = None

    def __post_init__(self) -> None:
        """Check numbers and labels, and give each point its label."""
        _check_rows("points", "(x, y) or (x, y, label)", self.points)
        _check_rows("boxes", "boxes (left, top, width, height)", self.boxes)
        if not len(self.points) and not len(self.boxes) and self.mask is None:
            raise QueryError("visual: it is empty; give points, boxes or a mask, or leave it out")
        object.__setattr__(self, "points", tuple(map(_labelled, self.points)))
        for box in self.boxes:
            if len(box) != 4 or not all(map(_is_number, box)) or min(box[2:]) <= 0:
                raise QueryError(f"boxes: expected left, top, width and height, both above 0, got {list(box)}")

    def check(self, size: tuple[int, int]) -> None:
        """Check that everything lies in an image.

        Args:
            size: Height and width of the image.

        Raises:
            QueryError: If a point or a part of a box lies outside, or the mask has another size.
        """
        height, width = size
        for x, y, *_ in self.points:
            if not (0 <= x < width and 0 <= y < height):
                raise QueryError(
                    f"points: ({x:g}, {y:g}) lies outside the image; x is from 0 to {width - 1} and y from 0 to "
                    f"{height - 1}"
                )
        for left, top, wide, high in self.boxes:
            if left < 0 or top < 0 or left + wide > width or top + high > height:
                raise QueryError(
                    f"boxes: {[left, top, wide, high]} (left, top, width, height) reaches beyond the image of "
                    f"{width} x {height} pixels; cut it at its edges"
                )
        if self.mask is None:
            return
        found = self.mask.size if isinstance(self.mask, Mask) else np.shape(self.mask)
        if tuple(found) != tuple(size):
            raise QueryError(
                f"mask: its height and width are {tuple(found)}, those of the image {tuple(size)}; give a mask of the "
                "image's own size"
            )
        if not isinstance(self.mask, Mask):
            _check_values(np.asarray(self.mask))

    def fit(self, geometry: Geometry) -> list[FittedPrompt]:
        """Return what the mask head is to draw: one prompt for each box, or one without a box.

        Coordinates are scaled as SAM scales them, without the half pixel that its prompt encoder adds.

        Args:
            geometry: The image's geometry.

        Raises:
            QueryError: If it does not fit the image, or a point or a box lies where the encoder does not see it.
        """
        self.check(geometry.original)
        places = _floats([_placed(x, y, geometry) for x, y, *_ in self.points]).reshape(-1, 2)
        self._check_seen(places, geometry)
        positive = torch.tensor([label == "positive" for *_, label in self.points], dtype=torch.bool)
        mask = None if self.mask is None else _fit_logits(_logits(self.mask), geometry)
        corners = [
            _floats([*_placed(left, top, geometry), *_placed(left + width, top + height, geometry)])
            for left, top, width, height in self.boxes
        ]
        return [FittedPrompt(places, positive, self._cut(box, geometry), mask) for box in corners] or [
            FittedPrompt(places, positive, None, mask)
        ]

    def _check_seen(self, places: Tensor, geometry: Geometry) -> None:
        height, width = geometry.resized
        for (x, y, *_), (across, down) in zip(self.points, places.tolist(), strict=True):
            if not (0 <= across < width and 0 <= down < height):
                raise QueryError(f"points: ({x:g}, {y:g}) lies where the image is cropped; the encoder does not see it")

    def _cut(self, box: Tensor, geometry: Geometry) -> Tensor:
        """Cut a box at the edges of what the encoder sees."""
        height, width = geometry.resized
        cut = torch.minimum(box.clamp(min=0), torch.tensor([width, height, width, height]).to(box))
        if not bool((cut[2:] > cut[:2]).all()):
            raise QueryError("boxes: one lies where the image is cropped; the encoder does not see it")
        return cut


def _check_rows(argument: str, rows: str, given: object) -> None:
    listed = isinstance(given, Sequence | np.ndarray) and not isinstance(given, str)
    if not listed or not all(isinstance(row, Sequence | np.ndarray) for row in given):  # type: ignore[attr-defined]
        raise QueryError(f"{argument}: expected a list of {rows}, got {given}")


def _check_values(mask: NDArray[Any]) -> None:
    """Check that numbers with a fraction are probabilities; whole ones are 0 outside of the mask, as in a picture."""
    if mask.dtype.kind == "f" and mask.size and not (mask.min() >= 0 and mask.max() <= 1):
        raise QueryError(
            f"mask: expected bool or probabilities in [0, 1], got values from {mask.min():g} to {mask.max():g}; turn "
            "logits into probabilities by a sigmoid"
        )


def _labelled(point: Point) -> tuple[float, float, str]:
    if len(point) not in (2, 3) or not all(map(_is_number, point[:2])):
        raise QueryError(f"points: expected (x, y) or (x, y, label), got {list(point)}")
    label = point[2] if len(point) == 3 else LABELS[0]
    if label not in LABELS:
        raise QueryError(f"points: the label {label!r} of ({point[0]:g}, {point[1]:g}) is neither of {LABELS}")
    return float(point[0]), float(point[1]), label


def _floats(values: Sequence[Any]) -> Tensor:
    # an explicit type, since trainers in half precision change the default one
    return torch.tensor(values, dtype=torch.float32)


def _is_number(value: object) -> bool:
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return number and math.isfinite(float(value))  # type: ignore[arg-type]


def _placed(x: float, y: float, geometry: Geometry) -> tuple[float, float]:
    """Return column and row in the input of a place in the image."""
    rows, columns = geometry.shown
    down, across = (new / old for new, old in zip(geometry.resized, geometry.shown_size, strict=True))
    return (x - columns.start) * across, (y - rows.start) * down


def _logits(mask: NDArray[Any] | Mask) -> Tensor:
    pixels = mask.decode() if isinstance(mask, Mask) else mask
    return torch.from_numpy(np.asarray(pixels, dtype=np.float32)).logit(1e-6).clamp(-SURE, SURE)


def _fit_logits(logits: Tensor, geometry: Geometry) -> Tensor:
    """Fit logits of the image's own size into the padded input, where nothing belongs to the mask in the padding."""
    shown = logits[geometry.shown]
    if geometry.resized != geometry.shown_size:
        sized = torch.nn.functional.interpolate(shown[None, None], geometry.resized, mode="bilinear", antialias=True)
        shown = sized[0, 0]
    fitted = shown.new_full(geometry.padded, -SURE)
    fitted[: geometry.resized[0], : geometry.resized[1]] = shown
    return fitted
