"""A file with an object of JSON on each line, of which the first may describe the set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lasagna.core.json_text import parse_json
from lasagna.datamodules.converters.common.files import LayoutError


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


class Lines:
    """The lines of a file that are not empty, read again each time, so that memory does not grow with their number.

    Args:
        path: The file.
        described: Fields that the first line may have instead of an image, if it describes the set.

    Raises:
        LayoutError: While reading, if the file is missing, or a line is not a JSON object.
    """

    def __init__(self, path: Path, described: Collection[str]) -> None:
        self.path = path
        self.described = described

    def __iter__(self) -> Iterator[Line]:
        """Read all lines in order."""
        return _read_lines(self.path)

    def head(self) -> Line | None:
        """Return the first line if it is the manifest's rather than an image's, else None."""
        first = next(iter(self), None)
        is_head = first is not None and "image" not in first.fields and first.fields.keys() <= {*self.described}
        return first if is_head else None

    def images(self) -> Iterator[Line]:
        """Read the lines of images in order."""
        return islice(self, 0 if self.head() is None else 1, None)


def _read_lines(path: Path) -> Iterator[Line]:
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
        LayoutError: If it is not a JSON object.
    """
    with path.open("rb") as file:
        file.seek(offset)
        return parse_line(file.readline(), where, offset)


def parse_line(data: bytes, where: str, offset: int) -> Line:
    """Parse the bytes of a line.

    Raises:
        LayoutError: If it is not a JSON object.
    """
    try:
        fields = parse_json(data.decode("utf-8-sig"))
    except ValueError as error:
        raise LayoutError(f"{where}: not JSON ({error}); each image is an object on one line") from error
    if not isinstance(fields, dict):
        raise LayoutError(f"{where}: expected an object {{...}}, got {str(fields)[:60]!r}")
    return Line(where, offset, fields)
