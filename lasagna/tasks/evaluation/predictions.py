"""The folder of an evaluation: its header in ``evaluation.json``, and the answers in ``predictions-N.jsonl``.

Each process writes a file of its own, with a line for each record of each run: "run" (name of the run), "key", "size",
and for each dialogue its "kind", "query" and "answers" by decoding. A record that was skipped has a line with the
reason, "skipped", instead of size and dialogues. Unfinished lines are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.locks import locked_file
from lasagna.core.masks import BoolMask, RLEMask
from lasagna.core.overlaps import OverlapMap
from lasagna.core.tiled_answers import TiledAnswer, packed_mask, packed_masks
from lasagna.errors import ConfigError
from lasagna.tasks.callbacks.run_facts import write_json
from lasagna.tasks.metrics.mean_iou import top_of

HEADER = "evaluation.json"
FORMAT = 2
_MAY_DIFFER = ("checkpoint", "versions", "device", "format")

Line = dict[str, Any]
Place = tuple[str, str]
"""Name of a run, and key of a record."""


def predictions_file(folder: Path, part: int) -> Path:
    """Return the file of a process."""
    return folder / f"predictions-{part:03d}.jsonl"


def predictions_files(folder: Path) -> list[Path]:
    """Return the files of all processes, in order."""
    return sorted(folder.glob("predictions-*.jsonl"))


def read_header(folder: Path) -> dict[str, Any]:
    """Read the header of an evaluation.

    Raises:
        ConfigError: If the folder holds no evaluation.
    """
    file = folder / HEADER
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
        if header["format"] != FORMAT:
            raise ValueError(
                f"its format is {header['format']}, expected {FORMAT}; answer again with --ckpt and a new --out"
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"predictions: {str(folder)!r} holds no evaluation that can be read ({error})") from error
    return dict(header)


def begin(folder: Path, header: Mapping[str, Any]) -> None:
    """Begin an evaluation, or continue one with the same header.

    Raises:
        ConfigError: If the folder holds another evaluation; names what differs.
    """
    if (folder / HEADER).is_file():
        join(folder, header)
    elif predictions_files(folder):
        raise ConfigError(f"out: {str(folder)!r} holds predictions without {HEADER}; choose another folder")
    write_json(folder / HEADER, _stored(header))


def join(folder: Path, header: Mapping[str, Any]) -> None:
    """Join an evaluation that another process began.

    Raises:
        ConfigError: If it is another evaluation; names what differs.
    """
    known, given = read_header(folder), _stored(header)
    names = sorted((known.keys() | given.keys()) - set(_MAY_DIFFER))
    changed = [name for name in names if known.get(name) != given.get(name)]
    if changed:
        raise ConfigError(
            f"out: {str(folder)!r} holds the predictions of another evaluation, with other {', '.join(changed)}; "
            "choose another folder, or repeat the command that began it"
        )


@dataclass(frozen=True)
class StoredLines(Mapping[Place, Line]):
    """The stored lines by run and record; each is read when it is needed, since all masks together may be large.

    Args:
        places: For each line its file, and the byte at which it begins.
    """

    places: Mapping[Place, tuple[Path, int]]

    def __getitem__(self, place: Place) -> Line:
        """Read a line."""
        file, first = self.places[place]
        with file.open("rb") as stream:
            stream.seek(first)
            return dict(json.loads(stream.readline()))

    def __iter__(self) -> Iterator[Place]:
        """Yield run and record of each line."""
        return iter(self.places)

    def __len__(self) -> int:
        """Count the lines."""
        return len(self.places)


def read_lines(folder: Path) -> StoredLines:
    """Find the stored lines; if a record was answered twice, its first line counts.

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


def cut_unfinished_line(file: Path) -> None:
    """Remove a last line that an interruption left unfinished."""
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
        return str(line["run"]), str(line["key"])
    except (ValueError, KeyError, TypeError):
        return None


def opened(file: Path) -> AbstractContextManager[TextIO]:
    """Open a file of answers for appending; it is locked until it is closed.

    Raises:
        BusyError: If another process has it open.
    """
    return locked_file(
        file,
        f"another process is still writing answers to {file}; wait until it has finished, stop it, or choose another "
        "folder with --out",
    )


def check_free(folder: Path, first: int = 0) -> None:
    """Check that no process of an earlier evaluation is still running.

    Args:
        folder: The folder of the evaluation.
        first: The first process to check.

    Raises:
        BusyError: If one is running.
    """
    for file in predictions_files(folder):
        if file >= predictions_file(folder, first):
            with opened(file):
                pass


def to_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as plain data."""
    tops, entries = _tops(answer), []
    for rank, entry in enumerate(answer.entries):
        packed = packed_mask(entry)
        mask = None if packed is None else packed.to_json()
        plain = {"name": entry.name, "present": entry.present, "score": entry.score, "confidence": entry.confidence}
        plain |= {"masks": _encoded(entry), "scores": list(entry.scores)} if entry.apart else {}
        plain |= {} if entry.span is None else {"span": list(entry.span)}
        entries.append(plain | {"mask": mask} | ({"top": tops[rank].to_json()} if rank in tops else {}))
    words = {"words": answer.words} if answer.words else {}
    return {"text": answer.text, "faults": list(answer.faults), "entries": entries} | words


def from_json(stored: Mapping[str, Any], size: tuple[int, int]) -> Answer:
    """Return a stored answer.

    Args:
        stored: What ``to_json`` returned.
        size: Height and width of its image.

    Raises:
        RecordError: If a mask cannot be decoded, or has another size.
        KeyError, TypeError, ValueError: If ``stored`` is not an answer.
    """
    entries, top = [], OverlapMap(size)
    for rank, entry in enumerate(stored["entries"]):
        mask, present = _decoded(entry.get("mask"), size), bool(entry["present"])
        score, confidence = float(entry["score"]), float(entry["confidence"])
        masks = tuple(RLEMask.from_json(code, size).decode() for code in entry.get("masks", ()))
        scores = tuple(map(float, entry.get("scores", ())))
        name, span = str(entry["name"]), _span(entry.get("span"))
        entries.append(AnsweredEntry(name, present, score, mask, confidence, masks=masks, scores=scores, span=span))
        visible = mask if entry.get("top") is None else _decoded(entry["top"], size)
        if visible is not None and present:
            top.add_whole(rank, visible, 0)
    words = str(stored.get("words", ""))
    return Answer(str(stored["text"]), tuple(entries), tuple(map(str, stored["faults"])), top, words)


def _tops(answer: Answer) -> dict[int, RLEMask]:
    """Return for each mask that overlaps another the pixels where it is on top."""
    if isinstance(answer, TiledAnswer):
        return {rank: seen for rank, seen, mask in answer.visible() if seen != mask}
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


def _span(stored: Sequence[int] | None) -> tuple[int, int] | None:
    if stored is None:
        return None
    begin, end = stored
    return int(begin), int(end)


def _encoded(entry: AnsweredEntry) -> list[dict[str, Any]]:
    return [mask.to_json() for mask in packed_masks(entry)]


def _decoded(code: Mapping[str, Any] | Sequence[Any] | None, size: tuple[int, int]) -> BoolMask | None:
    return None if code is None else RLEMask.from_json(code, size).decode()
