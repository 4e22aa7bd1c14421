"""The user's own tables: a row with an image and its annotations in Parquet files, or in Hugging Face ``datasets``.

Source: the pages of ``datasets`` on image data and features, for how images and names of classes are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import Exif, LayoutError, shorten
from lasagna.datamodules.converters.common.label_scheme import label_scheme
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels
from lasagna.datamodules.converters.label_classes import find_classes, read_classes
from lasagna.datamodules.converters.parquet_files import (
    SPLITS,
    Rows,
    arrow,
    column,
    features,
    noted_names,
    row_groups,
    split_files,
)
from lasagna.datamodules.converters.parquet_rows import ReadRow
from lasagna.errors import ConfigError

ROLES = {
    "image": "the image: a file's content, or its path",
    "labels": "a label image",
    "masks": "a mask, or a list of masks: images, polygons or RLE",
    "names": "the class of each mask, a text or a number",
    "texts": "the phrase that means each mask",
    "key": "the name of the record",
}
"""What a column can be, and what its values are."""


class Parquet(Converter):
    """Rows of Parquet files, or of a data set of Hugging Face ``datasets`` on disk; needs the extra ``parquet``.

    Nothing is downloaded. Columns are named by what they are, those within a column of objects with a dot:
    ``--columns.image image --columns.masks objects.segmentation --columns.names objects.category``. Label images need a
    file of classes; the names of numbers are those of the table (``ClassLabel``), or of a file of classes. Underscores
    in names become blanks, and the original names are aliases.

    Args:
        source: The folder of the files, or one file. Paths of images are relative to it.
        columns: Which column is the "image", and which are the "labels" (a label image), or the "masks" with their
            "names" or "texts"; "key" names the records, which are numbered otherwise.
        classes: The file of classes; by default one of the usual names in the source.
        void: Names or values of label images that count in no loss and no score, separated by commas.
        background: Names or values of label images that belong to no class.
        unannotated: What it means that a class is not annotated on an image: it is "absent", or it is "unknown".
        exif: How images were annotated whose EXIF tag turns them: as they are "seen" (as ``datasets`` reads them), or
            as they are "stored"; "ask" stops at the first of them.
    """

    def __init__(
        self,
        source: Path,
        columns: dict[str, str] | None = None,
        classes: Path | None = None,
        void: str | None = None,
        background: str | None = None,
        unannotated: Literal["absent", "unknown"] = "absent",
        exif: Exif = "seen",
    ) -> None:
        self.source = source
        self.columns = columns
        self.classes = classes
        self.void = void
        self.background = background
        self.unannotated = unannotated
        self.exif: Exif = exif

    def settings(self) -> dict[str, Any]:
        """Return the options except folders, with the columns."""
        return {**super().settings(), "columns": self.columns}

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that files or folders name.

        Raises:
            LayoutError: If there are no tables, or one is broken; later, if it lacks a column.
            ConfigError: If pyarrow is not installed, or the columns are not named.
        """
        arrow()
        files = split_files(self.source)
        paths = [path for part in files.values() for path in part]
        columns = self._columns(paths)
        folder = self.source.parent if self.source.is_file() else self.source
        name, names, scheme = folder.resolve().name, {}, None
        if "labels" in columns:
            place = self.classes or find_classes(folder, SPLITS)
            scheme = label_scheme(read_classes(place), str(place), self.void, self.background)
            manifest = scheme.manifest(name, self.unannotated)
        else:
            names = self._names(paths, columns.get("names"))
            manifest = self._manifest(name, names)
        read = ReadRow(folder, columns, manifest, scheme, names, self.exif)
        return LazySplits({split: partial(self._split, part, read) for split, part in files.items()})

    def _columns(self, paths: Sequence[Path]) -> dict[str, str]:
        """Return the columns; they must be named by what they are, and every file must have them."""
        columns = dict(self.columns or {})
        there = ", ".join(f"{field.name} ({field.type})" for field in features(paths[0])[0])[:500]
        if unknown := sorted(columns.keys() - ROLES.keys()):
            known = "; ".join(f"{role}: {meaning}" for role, meaning in ROLES.items())
            raise ConfigError(f"columns: {shorten(unknown)} is none of what a column can be ({known})")
        has_masks = "masks" in columns and not columns.keys().isdisjoint(("names", "texts"))
        if "image" not in columns or not ("labels" in columns or has_masks) or {"labels", "names"} <= columns.keys():
            raise ConfigError(
                "columns: name the column of the image, and that of label images, or those of masks and of their names "
                "or texts (boxes are no masks), e.g. `--columns.image image --columns.labels annotation`; "
                f"{paths[0]} has {there}"
            )
        for path in paths:
            known = features(path)[0].names
            for role, name in columns.items():
                if name.partition(".")[0] not in known:
                    raise LayoutError(f"columns: {role}: {path} has no column {name!r}; there are {', '.join(known)}")
        return columns

    def _names(self, paths: Sequence[Path], name: str | None) -> dict[str | int, str]:
        """Return the category of each name: of numbers from a file of classes or the table, else of all texts."""
        if name is None:
            return {}
        numbered = noted_names(paths[0], name)
        if self.classes is not None:
            numbered = {code: word for code, word in read_classes(self.classes).items() if isinstance(code, int)}
        words = {word for path in paths for cell in column(path, name) for word in _words(cell)} if not numbered else ()
        said = spoken_labels(numbered.values() or sorted(words))
        labels: list[tuple[str | int, str]] = [*said.items(), *((code, said[word]) for code, word in numbered.items())]
        return dict(labels)

    def _manifest(self, name: str, names: Mapping[str | int, str]) -> Manifest:
        return Manifest(
            name=name,
            categories=tuple(dict.fromkeys(names.values())),
            unannotated=self.unannotated if names else "unknown",
            origin="the user's own data, a table",
            licence="the user's own",
            aliases=other_labels({label: said for label, said in names.items() if isinstance(label, str)}),
        )

    def _split(self, paths: Sequence[Path], read: ReadRow) -> Split:
        name = read.columns.get("key")
        keys = [str(key) for path in paths for key in column(path, name)] if name else None
        rows = Rows([group for path in paths for group in row_groups(path)], keys)
        return Split(read.manifest, rows, read, paths, read.scheme.notes() if read.scheme else ())


def _words(cell: Any) -> Iterator[str]:  # noqa: ANN401
    for word in cell if isinstance(cell, list) else [cell]:
        if isinstance(word, str):
            yield word
        elif word is not None:
            raise LayoutError(
                f"columns: names: there are numbers such as {str(word)[:20]}, and the table does not name them; give a "
                "file of classes by `--classes`"
            )
