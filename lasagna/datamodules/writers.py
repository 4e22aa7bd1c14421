"""The interface of everything that writes shards before a run reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod


class DataWriter(ABC):
    """Writes shards if they do not exist yet."""

    @abstractmethod
    def prepare(self) -> None:
        """Write what is missing, with a progress bar; do nothing if everything exists.

        Only one process per machine calls it.
        """
