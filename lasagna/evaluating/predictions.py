"""The folder of an evaluation: what was asked in ``evaluation.json``, and the answers in ``predictions-N.jsonl``.

Each process has a file of its own, with a line for each record of each pass: "pass", "key", "size", and for each
dialogue its "kind", "query" and "answers" by decoding. A line that was cut short is as if it were not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.errors import ConfigError
from lasagna.tasks.callbacks.run_facts import write_json

HEADER = "evaluation.json"
FORMAT = 1
_FREE_TO_DIFFER = ("checkpoint", "versions", "device", "format")

Line = dict[str, Any]
Place = tuple[str, str]
"""Name of a pass, and key of a record."""


def predictions_file(folder: Path, part: int) -> Path:
    """Return the file of a process."""
    return folder / f"predictions-{part:03d}.jsonl"


def predictions_files(folder: Path) -> list[Path]:
    """Return the files of all processes, in order."""
    return sorted(folder.glob("predictions-*.jsonl"))


def read_header(folder: Path) -> dict[str, Any]:
    """Read what was asked.

    Raises:
        ConfigError: If the folder holds no evaluation.
    """
    file = folder / HEADER
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']}, expected {FORMAT}")
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise ConfigError(f"predictions: {str(folder)!r} holds no evaluation that can be read ({fault})") from fault
    return dict(header)


def begin(folder: Path, header: Mapping[str, Any]) -> None:
    """Begin an evaluation, or go on with one that asked the same.

    Raises:
        ConfigError: If the folder holds the answers of another evaluation; says what differs.
    """
    if (folder / HEADER).is_file():
        join(folder, header)
    elif predictions_files(folder):
        raise ConfigError(f"out: {str(folder)!r} holds predictions without {HEADER}; choose another folder")
    write_json(folder / HEADER, _stored(header))


def join(folder: Path, header: Mapping[str, Any]) -> None:
    """Take part in an evaluation that another process began.

    Raises:
        ConfigError: If it is another evaluation; says what differs.
    """
    check_same(read_header(folder), _stored(header), folder)


def check_same(stored: Mapping[str, Any], header: Mapping[str, Any], folder: Path) -> None:
    """Check that a folder holds answers to what is asked.

    Raises:
        ConfigError: If they are of another evaluation; says what differs.
    """
    names = sorted((stored.keys() | header.keys()) - set(_FREE_TO_DIFFER))
    changed = [name for name in names if stored.get(name) != header.get(name)]
    if changed:
        raise ConfigError(
            f"out: {str(folder)!r} holds the predictions of another evaluation, with other {', '.join(changed)}; "
            "choose another folder, or give what it was begun with"
        )


@dataclass(frozen=True)
class StoredLines(Mapping[Place, Line]):
    """The stored lines by pass and record, each read when it is asked for: all masks together may be large.

    Args:
        places: Where each line is: its file, and at which byte it begins.
    """

    places: Mapping[Place, tuple[Path, int]]

    def __getitem__(self, place: Place) -> Line:
        """Read a line."""
        file, first = self.places[place]
        with file.open("rb") as stream:
            stream.seek(first)
            return dict(json.loads(stream.readline()))

    def __iter__(self) -> Iterator[Place]:
        """Yield pass and record of each line."""
        return iter(self.places)

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.places)


def read_lines(folder: Path) -> StoredLines:
    """Find the stored lines; of a record that was answered twice the first counts.

    Args:
        folder: The folder of the evaluation.
    """
    places: dict[Place, tuple[Path, int]] = {}
    for file in predictions_files(folder):
        with file.open("rb") as stream:
            first = 0
            for text in stream:
                if text.endswith(b"\n") and (place := _place(text)):
                    places.setdefault(place, (file, first))
                first += len(text)
    return StoredLines(places)


def mend(file: Path) -> None:
    """Cut off a last line that an interruption left unfinished."""
    if not file.is_file():
        return
    with file.open("rb+") as stream:
        content = stream.read()
        if not content.endswith(b"\n"):
            stream.truncate(content.rfind(b"\n") + 1)


def _stored(header: Mapping[str, Any]) -> dict[str, Any]:
    return {"format": FORMAT, **json.loads(json.dumps(header))}


def _place(text: bytes) -> Place | None:
    try:
        line = json.loads(text)
        return str(line["pass"]), str(line["key"])
    except (ValueError, KeyError, TypeError):
        return None
