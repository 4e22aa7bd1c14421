"""What an inspection has found so far, in a file: it goes on from there, and memory does not grow with the records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lasagna.datamodules.inspection.findings import MEANINGS, Finding
from lasagna.datamodules.inspection.survey import FURTHER, ShardSurvey, Survey
from lasagna.datamodules.shards.reader import RawSample
from lasagna.errors import OutputError

_TABLES = """
CREATE TABLE IF NOT EXISTS folders (number INTEGER PRIMARY KEY, name TEXT UNIQUE, identity TEXT);
CREATE TABLE IF NOT EXISTS shards (folder INTEGER, file TEXT, counts TEXT, PRIMARY KEY (folder, file));
CREATE TABLE IF NOT EXISTS findings (folder INTEGER, kind TEXT, place TEXT, count INTEGER, whole INTEGER);
CREATE TABLE IF NOT EXISTS images (folder INTEGER, digest BLOB, key TEXT, photograph TEXT);
CREATE TABLE IF NOT EXISTS examples (folder INTEGER, shard TEXT, rank INTEGER, file TEXT, content);
"""
_INDEXES = """
CREATE INDEX IF NOT EXISTS by_digest ON images (folder, digest);
CREATE INDEX IF NOT EXISTS by_photograph ON images (folder, photograph);
CREATE INDEX IF NOT EXISTS by_kind ON findings (folder, kind);
"""

MOST = 20
"""Maximum number of images that two folders share to name."""

SHARED = 0
"""Number of the findings that concern several folders."""


class Store:
    """Counts and findings of folders of shards; each shard is stored whole or not at all.

    Args:
        file: A database of SQLite; None keeps everything in memory.

    Raises:
        OutputError: If it cannot be written; so do all methods.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        with self._errors():
            try:
                self._connect()
            except sqlite3.DatabaseError as error:
                if file is None or "not a database" not in str(error):
                    raise
                file.unlink()
                self._connect()

    def _connect(self) -> None:
        self._data = sqlite3.connect(self.file or ":memory:")
        self._data.executescript(_TABLES)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OutputError(
                f"out: {self.file}: it cannot be written ({error}); make room, or choose another folder, and run the "
                "same command again"
            ) from error

    def close(self, remove: bool = False) -> None:
        """Close the file.

        Args:
            remove: Whether to remove it, too.
        """
        self._data.close()
        if remove and self.file is not None:
            self.file.unlink()

    def begin(self, name: str, identity: str) -> tuple[int, set[str]]:
        """Begin or continue a folder, and forget findings that are made from its counts.

        Args:
            name: The folder.
            identity: A text that differs if its shards or the choice of examples differ; then it is read anew.

        Returns:
            Its number, and the files of the shards that have been read.
        """
        with self._errors(), self._data:
            found = self._data.execute("SELECT number, identity FROM folders WHERE name = ?", (name,)).fetchone()
            if found and found[1] != identity:
                for table in ("shards", "findings", "images", "examples"):
                    self._data.execute(f"DELETE FROM {table} WHERE folder = ?", found[:1])
            self._data.execute(
                "INSERT INTO folders (name, identity) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET identity = excluded.identity",
                (name, identity),
            )
            (number,) = self._data.execute("SELECT number FROM folders WHERE name = ?", (name,)).fetchone()
            self._data.execute("DELETE FROM findings WHERE folder IN (?, ?) AND whole", (SHARED, number))
            files = self._data.execute("SELECT file FROM shards WHERE folder = ?", (number,)).fetchall()
        return number, {file for (file,) in files}

    def add(self, folder: int, file: str, found: ShardSurvey) -> None:
        """Store what was found in a shard.

        Args:
            folder: Number of its folder.
            file: Its file.
            found: The counts, images, findings and examples.
        """
        counts, images = json.dumps(found.counts.to_json()), found.images
        with self._errors(), self._data:
            self._data.execute("INSERT INTO shards VALUES (?, ?, ?)", (folder, file, counts))
            self._data.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", ((folder, *image) for image in images))
            self._insert(folder, found.findings, whole=False)
            for rank, sample in found.examples.items():
                rows = ((folder, file, rank, name, content) for name, content in sample.items())
                self._data.executemany("INSERT INTO examples VALUES (?, ?, ?, ?, ?)", rows)

    def note(self, folder: int, findings: Iterable[Finding]) -> None:
        """Store findings about a whole folder, or with the number ``SHARED`` about several."""
        with self._errors(), self._data:
            self._insert(folder, findings, whole=True)

    def _insert(self, folder: int, findings: Iterable[Finding], whole: bool) -> None:
        rows = ((folder, one.kind, one.where, one.count, whole) for one in findings)
        self._data.executemany("INSERT INTO findings VALUES (?, ?, ?, ?, ?)", rows)

    def counts(self, folder: int) -> Survey:
        """Return the counts of all shards of a folder."""
        total = Survey()
        for (counts,) in self.rows("SELECT counts FROM shards WHERE folder = ?", folder):
            total.add(Survey.from_json(json.loads(counts)))
        return total

    def examples(self, folder: int) -> dict[tuple[str, int], RawSample]:
        """Return the samples that were chosen as examples, by shard and rank."""
        samples: dict[tuple[str, int], RawSample] = {}
        for shard, rank, file, content in self.rows(
            "SELECT shard, rank, file, content FROM examples WHERE folder = ?", folder
        ):
            samples.setdefault((shard, rank), {})[file] = content
        return samples

    def index(self) -> None:
        """Prepare comparisons, after all shards were read."""
        with self._errors():
            self._data.executescript(_INDEXES)

    def doubled(self, folder: int) -> Iterator[Finding]:
        """Yield a finding for each key that several records have, and for each image file under several keys."""
        keys = "SELECT key, COUNT(*) FROM images WHERE folder = ? GROUP BY key HAVING COUNT(*) > 1 ORDER BY MIN(rowid)"
        for key, count in self.rows(keys, folder):
            yield Finding("doubled keys", f"{key} ({count} records)")
        images = (
            "SELECT digest, key FROM images WHERE folder = ?1 AND digest IN "
            "(SELECT digest FROM images WHERE folder = ?1 GROUP BY digest HAVING COUNT(*) > 1) "
            "ORDER BY MIN(rowid) OVER (PARTITION BY digest), rowid"
        )
        before: tuple[bytes, str] = (b"", "")
        for digest, key in self.rows(images, folder):
            if digest == before[0] and FURTHER.sub("", key) != FURTHER.sub("", before[1]):
                yield Finding("doubled images", f"{key} and {before[1]}")
            before = (digest, key)

    def shared(self, column: Literal["digest", "photograph"], first: int, second: int) -> tuple[list[str], int]:
        """Compare the images of two folders.

        Args:
            column: "digest" for equal image files, or "photograph" for photographs of COCO whose files differ.
            first: Number of a folder.
            second: Number of another one.

        Returns:
            The first few keys of the shared images, in order, and how many images there are.
        """
        equal = f"{column} IN (SELECT {column} FROM images WHERE folder = ?2)"
        other = "" if column == "digest" else " AND digest NOT IN (SELECT digest FROM images WHERE folder = ?2)"
        rows = f"(SELECT MAX(key) AS key FROM images WHERE folder = ?1 AND {equal}{other} GROUP BY {column})"
        ((number,),) = self.rows(f"SELECT COUNT(*) FROM {rows}", first, second)
        keys = self.rows(f"SELECT key FROM {rows} ORDER BY key LIMIT ?3", first, second, MOST + 1)
        return [key for (key,) in keys], int(number)

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401
        """Yield the rows of a query.

        Args:
            query: In SQL.
            values: Its parameters.
        """
        with self._errors():
            yield from self._data.execute(query, values)


@dataclass(frozen=True)
class StoredFindings:
    """The findings in a store about a folder, or with the number ``SHARED`` about several.

    Args:
        store: The store.
        folder: Number of the folder.
    """

    store: Store
    folder: int

    def totals(self) -> dict[str, int]:
        """Return the number of cases by kind, in the order of ``MEANINGS``."""
        query = "SELECT kind, SUM(count) FROM findings WHERE folder = ? GROUP BY kind"
        found: dict[str, int] = dict(self.store.rows(query, self.folder))
        return {kind: found[kind] for kind in MEANINGS if kind in found}

    def places(self, kind: str, most: int = -1) -> Iterator[str]:
        """Yield what the findings of a kind concern.

        Args:
            kind: The kind.
            most: How many; -1 for all.
        """
        query = "SELECT place FROM findings WHERE folder = ? AND kind = ? ORDER BY rowid LIMIT ?"
        return (place for (place,) in self.store.rows(query, self.folder, kind, most))

    def number(self, kind: str) -> int:
        """Return the number of findings of a kind."""
        query = "SELECT COUNT(*) FROM findings WHERE folder = ? AND kind = ?"
        ((number,),) = self.store.rows(query, self.folder, kind)
        return int(number)
