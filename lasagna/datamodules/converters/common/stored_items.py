"""Items of a split in a temporary file, so that memory does not grow with their number."""

from __future__ import annotations

import os
import pickle
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Generic, TypeVar, overload
from weakref import finalize

import numpy as np

T = TypeVar("T")


class StoredItems(Sequence[T], Generic[T]):
    """Items that are read from a temporary file when they are needed; the file ends with this object.

    Other processes read the same file.

    Args:
        items: The items, which are consumed one by one; must be picklable.
    """

    def __init__(self, items: Iterable[T]) -> None:
        # nobody else can write this file, so that reading its pickles runs no code of others
        descriptor, name = mkstemp(prefix="lasagna-items-")
        self._path = Path(name)
        self._places = array("Q")
        finalize(self, _remove, self._path, os.getpid())
        with os.fdopen(descriptor, "wb") as file:
            for item in items:
                self._places.append(file.tell())
                pickle.dump(item, file, pickle.HIGHEST_PROTOCOL)

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        """Read an item, or several."""
        if isinstance(index, slice):
            return [self[rank] for rank in range(*index.indices(len(self)))]
        with self._path.open("rb") as file:
            file.seek(self._places[index])
            found: T = pickle.load(file)
        return found

    def __iter__(self) -> Iterator[T]:
        """Read all items in order."""
        with self._path.open("rb") as file:
            for _ in self._places:
                yield pickle.load(file)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process read the same file, which remains this object's."""
        return _reopened, (self._path, self._places)


def _reopened(path: Path, places: array[int]) -> StoredItems[Any]:
    items = StoredItems.__new__(StoredItems)
    items._path, items._places = path, places
    return items


def _remove(path: Path, process: int) -> None:
    # a forked process has a copy of the object, and not the file
    if os.getpid() == process:
        path.unlink(missing_ok=True)


def repeated(values: Callable[[], Iterable[str]]) -> list[str]:
    """Return the texts that occur several times.

    Only a number of each text is in memory, and the texts of equal numbers are gathered again.

    Args:
        values: Returns the texts, each time anew.
    """
    numbers = np.fromiter(map(hash, values()), np.int64)
    numbers.sort()
    suspects = frozenset(numbers[1:][numbers[1:] == numbers[:-1]].tolist())
    if not suspects:
        return []
    counts = Counter(value for value in values() if hash(value) in suspects)
    return [value for value, count in counts.items() if count > 1]
