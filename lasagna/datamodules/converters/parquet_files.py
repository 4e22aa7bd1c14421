"""Tables in Parquet files and in the Arrow files of Hugging Face ``datasets``: splits, columns, and rows one by one.

Source: the Parquet and IPC pages of arrow.apache.org/docs, and the pages of ``datasets`` on features and on loading.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from types import ModuleType
from typing import Any, overload

from lasagna.core.json_text import parse_json
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.shards.tally import file_stamp
from lasagna.errors import ConfigError, RecordError

SPLITS = ("train", "validation", "valid", "val", "dev", "test")
SUFFIXES = (".parquet", ".arrow")
EXPECTED = """
  <split>-00000-of-00001.parquet in any folder, <split>/0000.parquet, or <split>/data-00000-of-00001.arrow
  as `datasets` writes them, or other files .parquet, which become "train\""""

FILE = b"ARROW1"
"""First bytes of Arrow files that are no streams."""

FAULTS = (OSError, ValueError, NotImplementedError)
"""What pyarrow raises for broken files (its own errors are among these)."""

_PART = re.compile(r"(?:.*-)?(?P<split>[^-]+)-\d{5}-of-\d{5}.*")


def arrow() -> ModuleType:
    """Return the package that reads the files.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("parquet: its files are read with pyarrow; `pip install -e .[parquet]`") from error
    return pyarrow  # type: ignore[no-any-return]


def split_files(source: Path) -> dict[str, list[Path]]:
    """Return the files of each split.

    Args:
        source: The folder, or one file, which is "train" if its name states no split.

    Raises:
        LayoutError: If there are none.
    """
    found = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.suffix in SUFFIXES)
    parts: dict[str, list[Path]] = {}
    for path in found:
        if path.suffix in SUFFIXES and not path.name.startswith((".", "cache-")):
            parts.setdefault(_split_of(path, source), []).append(path)
    if not parts:
        raise LayoutError(f"source: there is no file .parquet or .arrow in {source}; expected{EXPECTED}")
    return parts


def _split_of(path: Path, source: Path) -> str:
    named = _PART.fullmatch(path.stem)
    words = [named["split"] if named and named["split"] != "data" else "", path.stem, path.parent.name]
    if words[0]:
        return words[0]
    known = [word for word in words if word in SPLITS]
    is_part = named is not None and path.parent != source
    return known[0] if known else path.parent.name if is_part else "train"


@dataclass(frozen=True)
class RowItem:
    """One row.

    Args:
        key: Name of the record.
        path: The file.
        group: The number of its group of rows in the file.
        row: Its number in the group.
    """

    key: str
    path: Path
    group: int
    row: int


class Rows(Sequence[RowItem]):
    """The rows of files; they are made when they are asked for, since there may be a million.

    Args:
        groups: Each file with the number of a group in it, and its number of rows.
        keys: The key of each row, or None to number them.
    """

    def __init__(self, groups: Sequence[tuple[Path, int, int]], keys: Sequence[str] | None = None) -> None:
        self.groups = [group for group in groups if group[2]]
        self.starts = list(accumulate((count for *_, count in self.groups), initial=0))
        self.keys = keys

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.starts[-1]

    @overload
    def __getitem__(self, index: int) -> RowItem: ...
    @overload
    def __getitem__(self, index: slice) -> list[RowItem]: ...
    def __getitem__(self, index: int | slice) -> RowItem | list[RowItem]:
        """Return a row, or several.

        Raises:
            IndexError: If there is no such row.
        """
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        place = bisect_right(self.starts, index) - 1
        path, group, _ = self.groups[place]
        key = f"{index:08d}" if self.keys is None else self.keys[index]
        return RowItem(key, path, group, index - self.starts[place])


def row_groups(path: Path) -> list[tuple[Path, int, int]]:
    """Return the groups of rows of a file, and how many rows each has.

    Raises:
        LayoutError: If it cannot be read.
    """
    if path.suffix == ".arrow":
        return [(path, 0, _table(path, 0, None, file_stamp([path])).num_rows)]
    try:
        with arrow().parquet.ParquetFile(path) as file:
            return [(path, rank, file.metadata.row_group(rank).num_rows) for rank in range(file.num_row_groups)]
    except FAULTS as error:
        raise LayoutError(f"{path}: the table cannot be read ({_fault(error)}); download it again") from error


def features(path: Path) -> tuple[Any, Mapping[str, Any]]:
    """Return the columns of a file (a schema), and what ``datasets`` has noted about each of them.

    Raises:
        LayoutError: If it cannot be read.
    """
    try:
        schema = (
            _table(path, 0, None, file_stamp([path])).schema
            if path.suffix == ".arrow"
            else arrow().parquet.read_schema(path)
        )
        noted = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except KeyError:
        return schema, {}
    except (*FAULTS, TypeError) as error:
        raise LayoutError(f"{path}: the table cannot be read ({_fault(error)}); download it again") from error
    return schema, noted if isinstance(noted, dict) else {}


def noted_names(path: Path, name: str) -> dict[int, str]:
    """Return the names of the numbers in a column of classes, as ``datasets`` has noted them; empty if it has not.

    Args:
        path: The file.
        name: The column, with a dot before each field of a column of objects.

    Raises:
        LayoutError: If the file cannot be read.
    """
    first, *fields = name.split(".")
    noted: Any = features(path)[1].get(first)
    for field in (*fields, "names"):
        # lists are noted as [...] or as {"feature": ...}, at any depth
        while isinstance(noted, list) or (isinstance(noted, dict) and "feature" in noted):
            noted = (noted[0] if noted else None) if isinstance(noted, list) else noted["feature"]
        noted = noted.get(field) if isinstance(noted, dict) else None
    return dict(enumerate(map(str, noted))) if isinstance(noted, list) else {}


def cells(path: Path, group: int, columns: tuple[str, ...], row: int) -> dict[str, Any]:
    """Return the values of a row.

    Args:
        path: The file.
        group: The number of its group of rows.
        columns: The columns, with a dot before each field of a column of objects.
        row: The number of the row in the group.

    Raises:
        RecordError: If the file cannot be read, or lacks a column.
    """
    try:
        table = _table(path, group, tuple(sorted({name.partition(".")[0] for name in columns})), file_stamp([path]))
        values = {name: table.column(name)[row].as_py() for name in table.column_names}
        return {name: _inner(values, name) for name in columns}
    except (*FAULTS, LookupError) as error:
        raise RecordError(f"{path}: row {row} of group {group} cannot be read ({_fault(error)})") from error


def column(path: Path, name: str) -> Iterator[Any]:
    """Yield the values of one column.

    Raises:
        LayoutError: If the file cannot be read.
    """
    try:
        for _, group, count in row_groups(path):
            values = _table(path, group, (name.partition(".")[0],), file_stamp([path])).column(name.partition(".")[0])
            yield from (_inner({name.partition(".")[0]: values[row].as_py()}, name) for row in range(count))
    except (*FAULTS, LookupError) as error:
        raise LayoutError(f"{path}: the column {name!r} cannot be read ({_fault(error)})") from error


def _inner(values: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    """Return the value of a column, or of a field in it; a list of objects gives a list of this field."""
    first, *fields = name.split(".")
    found: Any = values[first]
    for field in fields:
        if isinstance(found, list):
            found = [None if part is None else part[field] for part in found]
        else:
            found = None if found is None else found[field]
    return found


@lru_cache(maxsize=1)
def _table(path: Path, group: int, columns: tuple[str, ...] | None, stamp: str) -> Any:  # noqa: ANN401
    """Return a group of rows; the last one is kept, since rows are read in order. No threads: processes are forked.

    Args:
        path: The file.
        group: The number of the group.
        columns: The columns to read, or None for all.
        stamp: Size and time of the file, so that a file that has changed is read again.
    """
    if path.suffix == ".arrow":
        with arrow().memory_map(str(path)) as file:
            kind = file.read(len(FILE))
            file.seek(0)
            table = (arrow().ipc.open_file if kind == FILE else arrow().ipc.open_stream)(file).read_all()
        return table if columns is None else table.select(list(columns))
    with arrow().parquet.ParquetFile(path, pre_buffer=False) as file:
        return file.read_row_group(group, columns=list(columns or ()), use_threads=False)


def _fault(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
