"""The contract of converters: a released data set has splits, and a split has items that are read one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lasagna.core.record import Manifest, Record
from lasagna.datamodules.shards.tally import ReadResult, file_stamp


@dataclass(frozen=True)
class Split:
    """One split of a data set; its files are read only while it is written.

    Args:
        manifest: What holds for all of its records.
        items: What its records are made from, in the order in which they are written; paths and ids, not pixels. Of
            many, ``StoredItems`` keep memory small.
        read: Makes a record from an item and reports what was left out of it; must be picklable for other processes.
        files: Files that the items need, which can be iterated over repeatedly; checked to exist before anything is
            written.
        notes: Remarks about the split, printed with the summary.
        annotations: Files that list the items; a stopped conversion does not resume if one of them has changed.
    """

    manifest: Manifest
    items: Sequence[Any]
    read: Callable[[Any], ReadResult]
    files: Iterable[Path] = ()
    notes: Sequence[str] = ()
    annotations: Sequence[Path] = ()

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)

    def digest(self) -> str:
        """Return a checksum of the items' keys in order."""
        keys = sha256()
        for item in self.items:
            keys.update(f"{getattr(item, 'key', item)}\n".encode())
        return keys.hexdigest()

    def stamp(self, index: int) -> str:
        """Return names, sizes and modification times of the files that an item names in its fields."""
        return file_stamp(_paths_of(self.items[index]))

    def reading(self, index: int) -> ReadResult:
        """Read one item.

        Raises:
            RecordError: If one of its files is broken or inconsistent with the others.
        """
        return self.read(self.items[index])

    def records(self) -> Iterator[Record]:
        """Read the records one by one.

        Raises:
            RecordError: If a file is broken or inconsistent with the others.
        """
        for index in range(len(self)):
            if (record := self.reading(index).record) is not None:
                yield record


class ItemFiles:
    """The files that items name in their fields, without a list of all of them.

    Args:
        items: The items.
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Path]:
        """Iterate over the files; those of several items occur several times."""
        return (path for item in self.items for path in _paths_of(item))


class LazySplits(Mapping[str, Split]):
    """Splits that are made on access, so that annotations of unwanted splits are never read.

    Args:
        make: A function for each split's name that makes the split.
    """

    def __init__(self, make: Mapping[str, Callable[[], Split]]) -> None:
        self._make = make

    def __getitem__(self, name: str) -> Split:
        """Make a split.

        Raises:
            LayoutError: If files of it are missing or broken.
        """
        return self._make[name]()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._make)

    def __len__(self) -> int:
        """Return the number of splits."""
        return len(self._make)


def _paths_of(item: Any) -> Iterator[Path]:  # noqa: ANN401
    """Yield the paths in an item, in the fields of dataclasses and in tuples."""
    if isinstance(item, Path):
        yield item
    elif is_dataclass(item):
        yield from (path for part in fields(item) for path in _paths_of(getattr(item, part.name)))
    elif isinstance(item, tuple):
        yield from (path for part in item for path in _paths_of(part))


class Converter(ABC):
    """Reads a data set as it was released and lists the records in it.

    The constructor's arguments are the options of ``lasagna convert``. The constructor stores them and reads nothing.
    """

    @abstractmethod
    def splits(self) -> Mapping[str, Split]:
        """Return the splits of the data set by name.

        Raises:
            LayoutError: If the folder does not have the expected layout, or files that belong together do not pair up.
        """

    def settings(self) -> dict[str, Any]:
        """Return the options except folders; a stopped conversion resumes only if they are the same."""
        plain = (str, int, float, bool, list, tuple, type(None))
        return {name: value for name, value in vars(self).items() if isinstance(value, plain)}

    def places(self) -> dict[str, str]:
        """Return the folders and files among the options, with links resolved."""
        return {name: str(value.resolve()) for name, value in vars(self).items() if isinstance(value, Path)}
