"""Masks of the user's own data: image files beside COCO's codings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lasagna.core.masks import BoolMask, Mask, RLEMask
from lasagna.datamodules.converters.coco_json import read_mask
from lasagna.datamodules.converters.files import read_label_file
from lasagna.datamodules.reading import LeftOut
from lasagna.errors import RecordError

FORMS = '"file.png", {"png": "file.png", "value": 3}, COCO RLE or a list of polygons [x0, y0, x1, y1, ...]'
PNG, VALUE = "png", "value"


def read_own_mask(code: Any, root: Path, size: tuple[int, int], where: str) -> Mask | LeftOut:  # noqa: ANN401
    """Read a mask in any form.

    Args:
        code: A mask file, whose pixels above zero are meant; an object with the file and the value that is meant; or
            one of COCO's codings.
        root: Where files are looked for.
        size: Height and width of the image.
        where: Whose it is, for messages.

    Returns:
        The mask, or why it is left out: it has no pixel.

    Raises:
        RecordError: If it is none, its file is broken, or it is of another size than the image.
    """
    name = mask_file(code)
    if name is None:
        if not isinstance(code, (list, Mapping)):
            raise RecordError(f"{where}: expected a mask ({FORMS}), got {str(code)[:60]!r}")
        return read_mask(code, size, where)
    try:
        pixels = _pixels(root / name, code[VALUE] if isinstance(code, Mapping) and VALUE in code else None)
    except RecordError as fault:
        raise RecordError(f"{where}: {fault}") from fault
    if pixels.shape != size:
        raise RecordError(f"{where}: {name} is of size {pixels.shape}, the image of {size}; both must agree")
    return RLEMask.from_array(pixels) if pixels.any() else LeftOut("mask without a pixel", where)


def mask_file(code: Any) -> str | None:  # noqa: ANN401
    """Return the file that a mask is in, or None."""
    found = code.get(PNG) if isinstance(code, Mapping) else code
    return found if isinstance(found, str) else None


def mask_files(fields: Mapping[str, Any]) -> Iterator[str]:
    """Return the files of all masks of a line."""
    codes = [part.get("mask") for part in fields.get("categories") or ()]
    codes += [code for field in ("phrases", "questions") for part in fields.get(field) or () for code in _masks(part)]
    codes.append(fields.get("ignore"))
    yield from (name for code in codes if (name := mask_file(code)) is not None)


def _masks(part: Mapping[str, Any]) -> list[Any]:
    return part.get("masks") or []


def _pixels(path: Path, value: Any) -> BoolMask:  # noqa: ANN401
    pixels = read_label_file(path)
    if value is not None:
        if pixels.ndim != 2 or type(value) is not int:
            raise RecordError(f"{path}: a value is a whole number in a file of one channel, got {value!r}")
        return np.asarray(pixels == value)
    if pixels.ndim == 2:
        return np.asarray(pixels != 0)
    if pixels.shape[2] == 3:
        return np.asarray((pixels != 0).any(-1))
    raise RecordError(f"{path}: a mask is black and white; this file has transparency, store it without")
