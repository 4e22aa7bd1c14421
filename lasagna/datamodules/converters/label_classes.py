"""Files that say which value or colour of label images is which class: text, CSV and JSON in the usual forms.

Source: the format pages of CVAT ("Segmentation mask"), Datumaro (``labelmap.txt``) and Roboflow (``_classes.csv``).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lasagna.datamodules.converters.common.entries import read_json
from lasagna.datamodules.converters.common.files import LayoutError, shorten, text_lines
from lasagna.datamodules.converters.common.label_maps import Colour
from lasagna.datamodules.converters.common.label_scheme import Code

USUAL = (
    "labelmap.txt",
    "class_names.txt",
    "classes.txt",
    "classes.csv",
    "class_dict.csv",
    "_classes.csv",
    "classes.json",
    "id2label.json",
)
"""Names of files of classes that are looked for."""

NAMES = ("name", "class", "label", "class_name", "title", "category")
VALUES = ("value", "id", "index", "pixel value", "pixel_value", "label_id", "class_id")
COLOURS = ("colour", "color", "rgb")
"""Columns of CSV and fields of JSON, in lower case."""

FORMS = """
  text: a name on each line (0, 1, 2, ...), "3 cup", "128 0 0 cup", or CVAT's "cup:128,0,0::"
  CSV with a header: name and value, name and colour, or name, r, g, b
  JSON: a list of names, {"3": "cup"}, {"cup": 3}, {"cup": [128, 0, 0]}, or a list of {"name": ..., "colour": ...}"""


def find_classes(source: Path, splits: Iterable[str]) -> Path:
    """Return the file of classes in a folder, or in the folder of a split.

    Args:
        source: The folder.
        splits: Names of splits.

    Raises:
        LayoutError: If there is none of a usual name.
    """
    folders = [source, *(source / split for split in splits)]
    if found := next((folder / name for folder in folders for name in USUAL if (folder / name).is_file()), None):
        return found
    raise LayoutError(
        f"source: there is no file of classes in {source} ({', '.join(USUAL)}); give one by `--classes`: {FORMS}"
    )


_MAPPED = re.compile(r"(?P<name>[^:]+):(?P<colour>[\d,\s]*):[^:]*:[^:]*$")
_COLOURED = re.compile(r"(\d+)[\s,]+(\d+)[\s,]+(\d+)[\s,:]+(?=\D)(.+)$")
_NUMBERED = re.compile(r"(\d+)[\s,:;=]+(?=\D)(.+)$")


def read_classes(path: Path) -> dict[Code, str]:
    """Read the classes of a file.

    Args:
        path: A file with the suffix ".txt", ".csv" or ".json".

    Returns:
        The name of each value, or of each colour.

    Raises:
        LayoutError: If it is missing or of no known form, a class has no name, two have the same value or colour, or
            some have a value and others a colour.
    """
    readers = {".txt": _of_text, ".csv": _of_csv, ".json": _of_json}
    if path.suffix.lower() not in readers:
        raise LayoutError(f"classes: {path}: expected a file .txt, .csv or .json; known are{FORMS}")
    try:
        pairs = list(readers[path.suffix.lower()](path))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise LayoutError(f"{path}: the classes cannot be read ({error}); known are{FORMS}") from error
    if not pairs:
        raise LayoutError(f"{path}: there are no classes; known are{FORMS}")
    if len({type(code) for code, _ in pairs}) > 1:
        raise LayoutError(f"{path}: some classes have a value and others a colour; give all of them the same")
    if nameless := [str(code) for code, name in pairs if not name.strip()]:
        raise LayoutError(f"{path}: the classes {shorten(nameless)} have no name; give them one")
    classes: dict[Code, str] = {}
    for code, name in pairs:
        if classes.setdefault(code, name.strip()) != name.strip():
            raise LayoutError(f"{path}: both {classes[code]!r} and {name.strip()!r} are {code}; correct one of them")
    return classes


def _of_text(path: Path) -> Iterable[tuple[Code, str]]:
    lines = [line.strip() for line in text_lines(path)]
    lines = [line for line in lines if not line.startswith("#")]
    while lines and not lines[-1]:
        lines.pop()
    mapped = [_MAPPED.match(line) for line in lines if line]
    if any(mapped):
        if not all(mapped):
            raise ValueError(f"{lines[mapped.index(None)]!r} is not of the form name:r,g,b::")
        return [(_colour(found["colour"]), found["name"]) for found in mapped if found]
    coloured = [_COLOURED.match(line) for line in lines if line]
    if all(coloured):
        return [((int(found[1]), int(found[2]), int(found[3])), found[4]) for found in coloured if found]
    numbered = [_NUMBERED.match(line) for line in lines if line]
    if all(numbered):
        return [(int(found[1]), found[2]) for found in numbered if found]
    return list(enumerate(lines))


def _of_csv(path: Path) -> Iterable[tuple[Code, str]]:
    rows = [row for row in csv.reader(text_lines(path), skipinitialspace=True) if any(row)]
    if not rows:
        return []
    head = [cell.strip().lower() for cell in rows[0]]
    fields = [dict(zip(head, (cell.strip() for cell in row), strict=True)) for row in rows[1:]]
    return [(_code(row), _first(row, NAMES)) for row in fields]


def _of_json(path: Path) -> Iterable[tuple[Code, str]]:
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("classes"), list):
        content = content["classes"]
    if isinstance(content, list):
        if all(isinstance(part, str) for part in content):
            return list(enumerate(content))
        rows = [{str(field).lower(): value for field, value in part.items()} for part in content]
        return [(_code(row), str(_first(row, NAMES))) for row in rows]
    pairs = content.items()
    if all(isinstance(value, str) and not _is_colour(value) for value in content.values()):
        return [(int(key) if key.isdecimal() else _colour(key), name) for key, name in pairs]
    return [(value if type(value) is int else _colour(value), name) for name, value in pairs]


def _first(row: Mapping[str, Any], fields: Sequence[str]) -> Any:  # noqa: ANN401
    found = [row[field] for field in fields if field in row]
    if not found:
        raise ValueError(f"there is none of {', '.join(fields)} among {', '.join(row)}")
    return found[0]


def _code(row: Mapping[str, Any]) -> Code:
    """Return the colour of a row, or its value if it has none."""
    for names in (("r", "g", "b"), ("red", "green", "blue")):
        if all(name in row for name in names):
            return _colour([row[name] for name in names])
    if any(row.get(field) for field in COLOURS) and not any(field in row for field in VALUES[:1]):
        return _colour(_first(row, COLOURS))
    return int(_first(row, VALUES))


def _is_colour(text: str) -> bool:
    return re.fullmatch(r"#[0-9a-fA-F]{6}", text) is not None


def _colour(given: str | Sequence[Any]) -> Colour:
    """Return a colour given as "#rrggbb", "r, g, b" or three numbers."""
    if isinstance(given, str) and _is_colour(given):
        parts = [int(given[place : place + 2], 16) for place in (1, 3, 5)]
    else:
        parts = [int(part) for part in (re.findall(r"-?\d+", given) if isinstance(given, str) else given)]
    if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
        raise ValueError(f"expected a colour of three numbers from 0 to 255, got {given!r}")
    return parts[0], parts[1], parts[2]
