"""The folder of an evaluation: what was asked in ``evaluation.json``, and the answers in ``predictions-N.jsonl``.

Each process has a file of its own, with a line for each record of each pass: "pass", "key", "size", and for each
dialogue its "kind", "query" and "answers" by decoding. A line that was cut short is as if it were not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lasagna.core.dialogue import Answer, AnsweredEntry
from lasagna.core.locks import held
from lasagna.core.masks import BoolMask, RLEMask
from lasagna.core.overlaps import OverlapMap
from lasagna.errors import ConfigError
from lasagna.tasks.callbacks.run_facts import write_json
from lasagna.tasks.metrics.mean_iou import top_of

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
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"predictions: {str(folder)!r} holds no evaluation that can be read ({error})") from error
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


def opened(file: Path) -> AbstractContextManager[TextIO]:
    """Open a file of answers, to add to it; nobody else can until it is closed.

    Raises:
        BusyError: If another process is adding to it.
    """
    return held(
        file,
        f"another process still adds answers to {file}; wait until it has ended, end it, or choose another folder with "
        "--out",
    )


def check_free(folder: Path, first: int = 0) -> None:
    """Check that no process of an earlier evaluation is still at it.

    Args:
        folder: The folder of the evaluation.
        first: The first part that is looked at.

    Raises:
        BusyError: If one is.
    """
    for file in predictions_files(folder):
        if file >= predictions_file(folder, first):
            with opened(file):
                pass


def to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain data."""
    tops = _tops(answer)
    entries = [_entry(entry, tops.get(rank)) for rank, entry in enumerate(answer.entries)]
    return {"text": answer.text, "faults": list(answer.faults), "entries": entries}


def from_json(stored: Mapping[str, Any], size: tuple[int, int]) -> Answer:
    """Return a stored answer.

    Args:
        stored: What ``to_json`` returned.
        size: Height and width of its image.

    Raises:
        RecordError: If a mask is none, or of another size.
        KeyError, TypeError, ValueError: If it is otherwise no stored answer.
    """
    entries, top = [], OverlapMap(size)
    for rank, entry in enumerate(stored["entries"]):
        entries.append(_answered(entry, size))
        mask = entries[-1].mask if entry.get("top") is None else _decoded(entry["top"], size)
        if mask is not None and entries[-1].present:
            top.add_whole(rank, mask, 0)
    return Answer(str(stored["text"]), tuple(entries), tuple(map(str, stored["faults"])), top)


def _tops(answer: Answer) -> dict[int, RLEMask]:
    """Return for each mask that others overlap where it lies on top."""
    masks = [(rank, entry.mask) for rank, entry in enumerate(answer.entries) if entry.mask is not None]
    if len(masks) < 2:
        return {}
    covered = np.zeros(masks[0][1].shape, dtype=np.uint16)
    for _, mask in masks:
        covered += mask
    contested = covered > 1
    if not contested.any():
        return {}
    ranks = top_of(answer, contested.shape).ranks()
    return {rank: RLEMask.from_array(ranks == rank) for rank, mask in masks if (mask & contested).any()}


def _entry(entry: AnsweredEntry, top: RLEMask | None) -> dict[str, Any]:
    mask = None if entry.mask is None else RLEMask.from_array(entry.mask).to_json()
    plain = {"name": entry.name, "present": entry.present, "score": entry.score, "confidence": entry.confidence}
    return plain | {"mask": mask} | ({} if top is None else {"top": top.to_json()})


def _answered(stored: Mapping[str, Any], size: tuple[int, int]) -> AnsweredEntry:
    name, score, confidence = str(stored["name"]), float(stored["score"]), float(stored["confidence"])
    return AnsweredEntry(name, bool(stored["present"]), score, _decoded(stored.get("mask"), size), confidence)


def _decoded(code: Mapping[str, Any] | Sequence[Any] | None, size: tuple[int, int]) -> BoolMask | None:
    return None if code is None else RLEMask.from_json(code, size).decode()
