"""What becomes of a data set's items when they are written, what is counted, and fingerprints of their inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path

from lasagna.core.record import Record
from lasagna.datamodules.shards.fields import Fields

EXAMPLES = 3
"""How many examples are kept of each reason to leave something out."""

BEYOND = "part of a mask outside of the image"
"""Reason for the parts of masks that are cut off."""

MASKED_QUESTIONS = "questions answered by masks"
"""Kind of entries among the questions."""

UNCLEAR = "names without a usable or complete mask"
"""Kind of entries that no query asks for."""


@dataclass(frozen=True)
class Skipped:
    """A part of a data set that is not written into the shards.

    Args:
        reason: Why, in the same words for all cases of its kind, e.g. "polygon of fewer than three points".
        where: Which one, e.g. "annotation 17 of image 139".
    """

    reason: str
    where: str


@dataclass(frozen=True)
class ReadResult:
    """The result of reading one item of a data set.

    Args:
        record: The record, or None if the item is left out.
        left_out: What was left out: the item itself or parts of it.
    """

    record: Record | None
    left_out: tuple[Skipped, ...] = ()


@dataclass
class WriteStats:
    """Counts of what was written and what was left out.

    Args:
        taken: Number of items examined.
        entries: Number of annotations written, by kind, e.g. {"categories": 12}.
        left_out: Number of cases by reason.
        examples: The first few cases by reason.
    """

    taken: int = 0
    entries: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, entries: Mapping[str, int], left_out: tuple[Skipped, ...]) -> None:
        """Count one item.

        Args:
            entries: Number of its annotations, by kind.
            left_out: What was left out of it.
        """
        self.taken += 1
        for kind, count in entries.items():
            self.entries[kind] = self.entries.get(kind, 0) + count
        for part in left_out:
            self.left_out[part.reason] = self.left_out.get(part.reason, 0) + 1
            shown = self.examples.setdefault(part.reason, [])
            if len(shown) < EXAMPLES:
                shown.append(part.where)

    def lines(self) -> list[str]:
        """Return the counts as lines of text: the annotations first, then one line per reason."""
        entries = [f"{count} {kind}" for kind, count in self.entries.items() if count]
        reasons = [
            f"left out: {count} x {reason} (e.g. {'; '.join(self.examples.get(reason, ()))})"
            for reason, count in sorted(self.left_out.items())
        ]
        return [", ".join(entries) or "no entries", *reasons]

    @property
    def is_bare(self) -> bool:
        """Whether there is nothing to ask for: no mask, phrase, question or conversation, and no absent name."""
        return not any(count for kind, count in self.entries.items() if kind != UNCLEAR)

    @classmethod
    def from_json(cls, data: Fields) -> WriteStats:
        """Return the counts that ``dataclasses.asdict`` turned into plain data.

        Raises:
            ValueError: If a field is missing or is not what it must be.
        """
        examples = {reason: list(cases) for reason, cases in data.inner("examples").texts_of().items()}
        counts = {name: data.inner(name).count_of() for name in ("entries", "left_out")}
        return cls(data.whole("taken", 0), **counts, examples=examples)


def count_entries(record: Record) -> dict[str, int]:
    """Return the number of annotations of a record, by kind."""
    masked = sum(question.masks is not None for question in record.questions)
    further = {MASKED_QUESTIONS: masked} if record.questions else {}
    further |= {"captions": len(record.captions)} if record.captions else {}
    crowds = sum(len(region.crowds) for region in record.regions)
    further |= {"crowds": crowds} if crowds else {}
    return {
        "categories": len(record.category_masks()),
        "objects": sum(len(region.masks or ()) for region in record.regions),
        "phrases": len(record.phrases),
        "questions": len(record.questions),
        "turns of conversations": len(record.conversation),
        "names known to be absent": len(record.absent),
        UNCLEAR: len(record.unclear),
        **further,
    }


Stamp = Callable[[int], str]
"""Takes an index and returns a text that identifies its inputs, e.g. its files with their sizes and times."""


class InputFingerprint:
    """A running checksum over the stamps of the first items.

    Args:
        stamp: Returns a text that identifies the inputs of an item.
        contents: Checksums of what the items have in common, such as annotation files.
    """

    def __init__(self, stamp: Stamp, contents: Mapping[str, str] | None = None) -> None:
        self.stamp = stamp
        self.contents = contents or {}
        self.count = 0
        self._digest = sha256()

    def up_to(self, count: int) -> str:
        """Return the checksum over the first ``count`` items; ``count`` must not decrease between calls."""
        for index in range(self.count, count):
            self._digest.update(f"{self.stamp(index)}\n".encode())
        self.count = count
        return self._digest.hexdigest()

    def whole(self, count: int) -> str:
        """Return one checksum over all inputs, wherever they are; ``count`` is the number of all items."""
        return sha256(json.dumps([dict(sorted(self.contents.items())), self.up_to(count)]).encode()).hexdigest()


def file_stamp(paths: Iterable[Path]) -> str:
    """Return the names, sizes and modification times of some files, without reading them."""
    return "\n".join(f"{path.name} {_size_and_time(path)}" for path in paths)


def content_stamp(path: Path) -> str:
    """Return the checksum of a file, or "missing"."""
    try:
        with path.open("rb") as file:
            return f"sha256 {file_digest(file, 'sha256').hexdigest()}"
    except OSError:
        return "missing"


def _size_and_time(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"
