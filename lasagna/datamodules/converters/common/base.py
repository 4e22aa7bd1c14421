"""The contract of converters: a data set as it was released is some splits, and a split is items that can be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from lasagna.core.record import Manifest, Record
from lasagna.datamodules.shards.tally import ReadResult, file_stamp


@dataclass(frozen=True)
class Split:
    """One part of a data set, whose files are read only as they are written.

    Args:
        manifest: What holds for its records.
        items: What its records are made from, in the order to write; paths and ids rather than pixels.
        read: Makes a record of an item, with what was left out of it; something that processes can receive.
        files: Files that the items need; whether they are there is looked up before anything is written.
        notes: What one should know of it, told with the summary.
        annotations: Files that the items come from; a stopped conversion does not go on where one has changed.
    """

    manifest: Manifest
    items: Sequence[Any]
    read: Callable[[Any], ReadResult]
    files: Sequence[Path] = ()
    notes: Sequence[str] = ()
    annotations: Sequence[Path] = ()

    def __len__(self) -> int:
        """Return how many items there are."""
        return len(self.items)

    def digest(self) -> str:
        """Return a checksum of the items' keys in their order."""
        keys = sha256()
        for item in self.items:
            keys.update(f"{getattr(item, 'key', item)}\n".encode())
        return keys.hexdigest()

    def stamp(self, index: int) -> str:
        """Return names, sizes and times of change of the files that an item names in its fields."""
        return file_stamp(_paths_of(self.items[index]))

    def reading(self, index: int) -> ReadResult:
        """Read one item.

        Raises:
            RecordError: If one of its files is broken or does not fit the others.
        """
        return self.read(self.items[index])

    def records(self) -> Iterator[Record]:
        """Read the records one by one.

        Raises:
            RecordError: If one of the files is broken or does not fit the others.
        """
        for index in range(len(self)):
            if (record := self.reading(index).record) is not None:
                yield record


class LazySplits(Mapping[str, Split]):
    """Splits that are made when they are asked for, so that nobody reads annotations of a split that is not wanted.

    Args:
        make: Makes each split, by its name.
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
        """Return the names."""
        return iter(self._make)

    def __len__(self) -> int:
        """Return how many splits there are."""
        return len(self._make)


def _paths_of(item: Any) -> Iterator[Path]:  # noqa: ANN401
    if isinstance(item, Path):
        yield item
    elif is_dataclass(item):
        yield from (path for part in fields(item) for path in _paths_of(getattr(item, part.name)))
    elif isinstance(item, tuple):
        yield from (path for part in item for path in _paths_of(part))


class Converter(ABC):
    """Reads a data set as it was released and says what its records are.

    The constructor's arguments are the options of ``lasagna convert``; it keeps them and reads nothing.
    """

    @abstractmethod
    def splits(self) -> Mapping[str, Split]:
        """Return the parts of the data set by name.

        Raises:
            LayoutError: If the folder is not laid out as expected, or files that belong together do not pair up.
        """

    def settings(self) -> dict[str, Any]:
        """Return the plain options, without folders, so that a stopped conversion knows whether it is the same."""
        plain = (str, int, float, bool, list, tuple, type(None))
        return {name: value for name, value in vars(self).items() if isinstance(value, plain)}

    def places(self) -> dict[str, str]:
        """Return the folders and files among the options, wherever links lead."""
        return {name: str(value.resolve()) for name, value in vars(self).items() if isinstance(value, Path)}
