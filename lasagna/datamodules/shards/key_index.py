"""Keys that were seen, on disk rather than in memory, of which there may be millions."""

from __future__ import annotations

import sqlite3


class KeyIndex:
    """Keys with a note each, in a temporary database that ends with this object."""

    def __init__(self) -> None:
        self._data = sqlite3.connect("")  # an unnamed database is on disk, and its cache is small
        self._data.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, note TEXT) WITHOUT ROWID")

    def add(self, key: str, note: str = "") -> str | None:
        """Add a key, unless it is there.

        Args:
            key: The key.
            note: What to keep with it.

        Returns:
            None if it is new, otherwise the note of the one that is there.
        """
        if self._data.execute("INSERT OR IGNORE INTO keys VALUES (?, ?)", (key, note)).rowcount:
            return None
        ((found,),) = self._data.execute("SELECT note FROM keys WHERE key = ?", (key,))
        return str(found)
