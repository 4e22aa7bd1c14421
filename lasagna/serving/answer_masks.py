"""Masks of answers in the coding that a client asks for."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from lasagna.core.masks import RLEMask
from lasagna.core.outlines import polygons_of
from lasagna.serving.schemas import MaskCoding


def with_coding(plain: Any, coding: MaskCoding) -> Any:  # noqa: ANN401
    """Return an answer whose masks have another coding, wherever they stand in it.

    Args:
        plain: What ``answer_json`` returned, with masks as COCO RLE.
        coding: "rle" for COCO RLE, "polygons", "png" for a PNG file in base64 (0 and 255), or "none" for no masks.
    """
    if coding == "rle":
        return plain
    if isinstance(plain, Mapping):
        return {
            key: _coded(value, coding) if key == "mask" and value is not None else with_coding(value, coding)
            for key, value in plain.items()
        }
    return [with_coding(part, coding) for part in plain] if isinstance(plain, list) else plain


def _coded(code: Mapping[str, Any], coding: MaskCoding) -> Any:  # noqa: ANN401
    if coding == "none":
        return None
    height, width = code["size"]
    mask = RLEMask(height, width, code["counts"]).decode()
    if coding == "polygons":
        return polygons_of(mask)
    stream = BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode("ascii")
