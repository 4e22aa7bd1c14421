"""The entries of an annotation file in COCO's format, in a temporary database instead of in memory."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Id = Any
"""A number, or in some exports a text."""

Entry = Mapping[str, Any]


class StoredImages(Mapping[Id, Entry]):
    """Images by id, in the order in which they were added."""

    def __init__(self) -> None:
        self._data = sqlite3.connect("")  # an unnamed database is on disk, and its cache is small
        self._data.execute("CREATE TABLE images (place INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT)")

    def add(self, number: Id, text: str) -> bool:
        """Add an image.

        Args:
            number: Its id.
            text: Its entry as JSON.

        Returns:
            Whether its id is new; otherwise it is not added.
        """
        query = "INSERT OR IGNORE INTO images (id, text) VALUES (?, ?)"
        return bool(self._data.execute(query, (json.dumps(number), text)).rowcount)

    def __getitem__(self, number: Id) -> Entry:
        """Return the entry of an image."""
        row = self._data.execute("SELECT text FROM images WHERE id = ?", (json.dumps(number),)).fetchone()
        if row is None:
            raise KeyError(number)
        return _entry(row[0])

    def __iter__(self) -> Iterator[Id]:
        """Iterate over the ids."""
        return (json.loads(number) for (number,) in self._data.execute("SELECT id FROM images ORDER BY place"))

    def __len__(self) -> int:
        """Return the number of images."""
        ((number,),) = self._data.execute("SELECT COUNT(*) FROM images")
        return int(number)


class StoredAnnotations(Mapping[Id, Sequence[Entry]]):
    """Annotations by the id of their image, in the order in which they were added."""

    def __init__(self) -> None:
        self._data = sqlite3.connect("")
        self._data.execute("CREATE TABLE annotations (place INTEGER PRIMARY KEY, image TEXT, text TEXT)")

    def add(self, image: Id, text: str) -> None:
        """Add an annotation.

        Args:
            image: The id of its image.
            text: Its entry as JSON.
        """
        self._data.execute("INSERT INTO annotations (image, text) VALUES (?, ?)", (json.dumps(image), text))

    def index(self) -> None:
        """Prepare to find the annotations of an image, after all were added."""
        self._data.execute("CREATE INDEX by_image ON annotations (image)")

    def all(self) -> Iterator[Entry]:
        """Iterate over all annotations."""
        return (_entry(text) for (text,) in self._data.execute("SELECT text FROM annotations ORDER BY place"))

    def __getitem__(self, image: Id) -> Sequence[Entry]:
        """Return the annotations of an image that has some."""
        query = "SELECT text FROM annotations WHERE image = ? ORDER BY place"
        found = [_entry(text) for (text,) in self._data.execute(query, (json.dumps(image),))]
        if not found:
            raise KeyError(image)
        return found

    def __iter__(self) -> Iterator[Id]:
        """Iterate over the ids of the images that have annotations."""
        query = "SELECT image FROM annotations GROUP BY image ORDER BY MIN(place)"
        return (json.loads(image) for (image,) in self._data.execute(query))

    def __len__(self) -> int:
        """Return the number of images that have annotations."""
        ((number,),) = self._data.execute("SELECT COUNT(DISTINCT image) FROM annotations")
        return int(number)


def _entry(text: str) -> Entry:
    entry: Entry = json.loads(text)
    return entry
