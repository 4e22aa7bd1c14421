"""Reading the annotation file of the user's own data: JSON lines, checked, with file and line in every message."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from lasagna.core.masks import BoolMask, Mask, RLEMask
from lasagna.datamodules.converters.common.coco import read_mask
from lasagna.datamodules.converters.common.files import LayoutError, is_plain, read_label_file
from lasagna.datamodules.shards.tally import Skipped
from lasagna.errors import RecordError

_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", object: "a mask"}

LINE = {
    "image": str,
    "key": str,
    "split": str,
    "categories": list,
    "absent": list,
    "unclear": list,
    "phrases": list,
    "questions": list,
    "talk": list,
    "ignore": object,
}
"""Fields of a line, of which only the first must be there."""
PARTS: dict[str, tuple[dict[str, type], tuple[str, ...]]] = {
    "categories": ({"name": str, "mask": object}, ("name", "mask")),
    "phrases": ({"text": str, "masks": list, "kind": str}, ("text", "masks")),
    "questions": ({"text": str, "answer": str, "masks": list, "kind": str}, ("text",)),
    "talk": ({"question": str, "answer": str}, ("question", "answer")),
}
"""For each list of objects their fields, and which of them must be there."""

NAME_LISTS = ("absent", "unclear")
"""Fields that list names."""


@dataclass(frozen=True)
class Line:
    """One line of the file.

    Args:
        where: File and number of the line, for messages.
        offset: Where it begins, in bytes.
        fields: Its content.
    """

    where: str
    offset: int
    fields: Mapping[str, Any]


def read_lines(path: Path) -> Iterator[Line]:
    """Read all lines that are not empty, in order.

    Raises:
        LayoutError: If the file is missing, or a line is no JSON object.
    """
    if not path.is_file():
        raise LayoutError(f"source: there is no {path}; expected a line of JSON for each image there")
    with path.open("rb") as file:
        offset = 0
        for number, data in enumerate(file, start=1):
            if data.strip():
                yield parse_line(data, f"{path}:{number}", offset)
            offset += len(data)


def line_at(path: Path, where: str, offset: int) -> Line:
    """Read one line again.

    Raises:
        LayoutError: If it is no JSON object.
    """
    with path.open("rb") as file:
        file.seek(offset)
        return parse_line(file.readline(), where, offset)


def parse_line(data: bytes, where: str, offset: int) -> Line:
    """Read a line from its bytes.

    Raises:
        LayoutError: If it is no JSON object.
    """
    try:
        fields = json.loads(data.decode("utf-8-sig"))
    except ValueError as error:
        raise LayoutError(f"{where}: no JSON ({error}); an image is one line, all in one object") from error
    if not isinstance(fields, dict):
        raise LayoutError(f"{where}: expected an object {{...}}, got {str(fields)[:60]!r}")
    return Line(where, offset, fields)


def check_line(line: Line) -> None:
    """Check that a line has the fields that it must have, of the right kinds, and no others.

    Raises:
        RecordError: If it has not, says of a name that it is absent and that it is there, or its split is no
            name of a folder.
    """
    check_fields(line.fields, LINE, ("image",), line.where)
    for field, (kinds, needed) in PARTS.items():
        for rank, part in enumerate(line.fields.get(field) or ()):
            place = f"{line.where}: {field}[{rank}]"
            if not isinstance(part, dict):
                raise RecordError(f"{place}: expected an object, got {str(part)[:60]!r}")
            check_fields(part, kinds, needed, place)
    for field in NAME_LISTS:
        for rank, name in enumerate(line.fields.get(field) or ()):
            if not isinstance(name, str) or not name.strip():
                raise RecordError(f"{line.where}: {field}[{rank}]: expected a name, got {str(name)[:60]!r}")
    _check_absent(line)
    if not is_plain(line.fields.get("split") or "train"):
        raise RecordError(f"{line.where}: split: expected a name that a folder can have, got {line.fields['split']!r}")


def _check_absent(line: Line) -> None:
    there = {part["name"] for part in line.fields.get("categories") or ()} | {*(line.fields.get("unclear") or ())}
    for rank, name in enumerate(line.fields.get("absent") or ()):
        if name in there:
            raise RecordError(
                f"{line.where}: absent[{rank}]: {name!r} is in 'categories' or 'unclear' as well; keep one of them"
            )


def check_fields(fields: Mapping[str, Any], kinds: Mapping[str, type], needed: tuple[str, ...], where: str) -> None:
    """Check an object's fields.

    Args:
        fields: The object.
        kinds: What it may have, and of which kind.
        needed: What it must have.
        where: What it is, for messages.

    Raises:
        RecordError: If it has not, or has another field or one of another kind.
    """
    for name, value in fields.items():
        if name not in kinds:
            near = get_close_matches(name, kinds, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kinds)}"
            raise RecordError(f"{where}: there is no field {name!r}; {hint}")
        if value is not None and not isinstance(value, kinds[name]):
            raise RecordError(f"{where}: {name}: expected {_KINDS[kinds[name]]}, got {str(value)[:60]!r}")
    for name in needed:
        value = fields.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise RecordError(f"{where}: {name!r} is missing or empty")


FORMS = '"file.png", {"png": "file.png", "value": 3}, COCO RLE or a list of polygons [x0, y0, x1, y1, ...]'
PNG, VALUE = "png", "value"


def read_own_mask(code: Any, root: Path, size: tuple[int, int], where: str) -> Mask | Skipped:  # noqa: ANN401
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
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    if pixels.shape != size:
        raise RecordError(f"{where}: {name} is of size {pixels.shape}, the image of {size}; both must agree")
    return RLEMask.from_array(pixels) if pixels.any() else Skipped("mask without a pixel", where)


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
