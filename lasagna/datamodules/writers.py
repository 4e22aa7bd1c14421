"""What writes shards before anybody reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod


class DataWriter(ABC):
    """Writes shards if they are not there yet."""

    @abstractmethod
    def prepare(self) -> None:
        """Write what is missing, with a progress bar; does nothing where all is there already.

        Called by one process of a machine alone.
        """
