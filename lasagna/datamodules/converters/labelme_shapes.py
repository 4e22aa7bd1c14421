"""The shapes of LabelMe as pixels.

Source: ``wkentaro/labelme``, ``utils/shape.py``: Pillow draws polygons, rectangles and circles with their outline.
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lasagna.core.masks import BoolMask
from lasagna.core.record import BROKEN_IMAGE, image_fault
from lasagna.errors import RecordError

POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
"""Each kind of shape that has an inside, and how many points it needs; all but a polygon have just as many."""


def draw_shape(shape: Mapping[str, Any], size: tuple[int, int]) -> BoolMask:
    """Draw a shape that has an inside.

    Args:
        shape: One of ``shapes`` of a LabelMe file.
        size: Height and width of the image.

    Returns:
        The pixels, bool ``[H, W]``.

    Raises:
        RecordError: If it has too few points, or its mask cannot be read.
    """
    kind = shape_kind(shape)
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        if len(points) < POINTS[kind] or not all(map(math.isfinite, sum(points, ()))):
            raise ValueError(f"{len(points)} points, at least {POINTS[kind]} are needed")
        return _pasted(shape["mask"], points[0], size) if kind == "mask" else _drawn(kind, points, size)
    except (KeyError, TypeError, *BROKEN_IMAGE) as fault:
        raise RecordError(f"shape {shape['label']!r}: a {kind} that cannot be drawn ({image_fault(fault)})") from fault


def shape_kind(shape: Mapping[str, Any]) -> str:
    """Return what a shape is; old files do not say it of polygons."""
    return str(shape.get("shape_type") or "polygon")


def _drawn(kind: str, points: list[tuple[float, float]], size: tuple[int, int]) -> BoolMask:
    canvas = Image.new("L", (size[1], size[0]))
    brush = ImageDraw.Draw(canvas)
    if kind == "polygon":
        brush.polygon(points, fill=1, outline=1)
    elif kind == "rectangle":
        columns, rows = zip(*points, strict=True)
        brush.rectangle([min(columns), min(rows), max(columns), max(rows)], fill=1, outline=1)
    else:
        (x, y), radius = points[0], math.dist(points[0], points[1])
        brush.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
    return np.asarray(canvas, dtype=bool)


def _pasted(code: str, corner: tuple[float, float], size: tuple[int, int]) -> BoolMask:
    """Return a mask that the file holds as an image, at its place; what lies outside of the image is cut off."""
    with Image.open(BytesIO(b64decode(code))) as image:
        part = np.asarray(image.convert("L")) != 0
    left, top = int(corner[0]), int(corner[1])
    canvas = Image.new("1", (size[1], size[0]))
    canvas.paste(Image.fromarray(part), (left, top))
    return np.asarray(canvas, dtype=bool)
