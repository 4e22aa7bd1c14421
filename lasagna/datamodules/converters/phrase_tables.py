"""Phrases in the Parquet files of released data sets: RefCOCO-M, and the rejection part of GroundingME.

Source: the cards of ``moondream/refcoco-m``, ``lirang04/GroundingME`` and ``lirang04/RefCOCOg_rej``; Li et al.
(GroundingME, arXiv 2512.17495).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Phrase, Record
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import read_mask
from lasagna.datamodules.converters.common.files import LayoutError, annotated_image
from lasagna.datamodules.converters.parquet_files import (
    RowItem,
    arrow,
    cells,
    column,
    features,
    row_groups,
    split_files,
)
from lasagna.datamodules.converters.parquet_rows import file_content
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

MEANINGS = ("description", "rejected_exp")
"""Columns of the phrases of GroundingME and of RefCOCOg_rej."""

REJECTION = "rejection"


class PhraseTable(Converter):
    """A data set whose rows are images with phrases, in Parquet files; needs the extra ``parquet``.

    A subclass says which columns and rows.

    Args:
        source: The folder of the Parquet files, or one of them.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    @abstractmethod
    def manifest(self, columns: Sequence[str]) -> Manifest:
        """Return what holds for all records of files with these columns."""

    @abstractmethod
    def columns(self, known: Sequence[str], where: str) -> tuple[str, ...]:
        """Return the columns to read, the first of which names the records.

        Args:
            known: The columns of a file.
            where: The file, for messages.

        Raises:
            LayoutError: If the file has other columns.
        """

    def keeps(self, path: Path, columns: Sequence[str]) -> Iterator[bool]:
        """Yield for each row whether it is taken; by default all are."""
        yield from (True for _ in column(path, columns[0]))

    @staticmethod
    @abstractmethod
    def phrases(row: Mapping[str, Any], size: tuple[int, int], where: str) -> tuple[list[Phrase], list[Skipped]]:
        """Return the phrases of a row, and what was left out.

        Raises:
            RecordError: If it has another form.
        """

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that the files name.

        Raises:
            LayoutError: If there are no tables; later, if one is broken or has other columns.
            ConfigError: If pyarrow is not installed.
        """
        arrow()
        return LazySplits({split: partial(self._split, paths) for split, paths in split_files(self.source).items()})

    def _split(self, paths: Sequence[Path]) -> Split:
        items: list[RowItem] = []
        columns: tuple[str, ...] = ()
        for path in paths:
            columns = self.columns(features(path)[0].names, str(path))
            places = [(group, row) for _, group, count in row_groups(path) for row in range(count)]
            rows = zip(places, column(path, columns[0]), self.keeps(path, columns), strict=True)
            items += [RowItem(Path(str(name)).stem, path, *place) for place, name, kept in rows if kept]
        manifest = self.manifest(columns)
        if not items:
            raise LayoutError(f"{', '.join(map(str, paths))}: no row has a phrase of {manifest.name}")
        return Split(manifest, items, ReadPhraseRow(manifest, columns, self.phrases), paths)


class ReadPhraseRow:
    """Reads a row.

    Args:
        manifest: What holds for all records.
        columns: The columns to read.
        phrases: Takes the row, the image's size and a text for messages, and returns the phrases and what is left out.
    """

    def __init__(self, manifest: Manifest, columns: tuple[str, ...], phrases: Any) -> None:  # noqa: ANN401 - a method
        self.manifest, self.columns, self.phrases = manifest, columns, phrases

    def __call__(self, item: RowItem) -> ReadResult:
        """Read the image and the phrases.

        Raises:
            RecordError: If the file cannot be read, the image cannot be decoded, or a mask has another size.
        """
        where = f"{item.path.name}: {item.key}"
        row = cells(item.path, item.group, (*self.columns, "image"), item.row)
        content = file_content(row["image"], item.path.parent, where)
        data, size = annotated_image(content, where, None)
        phrases, left = self.phrases(row, size, where)
        record = Record(item.key, data, size, self.manifest, phrases=tuple(phrases)) if phrases else None
        return ReadResult(record, tuple(left))


class RefCOCOM(PhraseTable):
    """RefCOCO-M: the phrases of RefCOCO's val (UNC) about objects that were drawn again to the pixel."""

    def manifest(self, columns: Sequence[str]) -> Manifest:
        """Return what holds for all records."""
        return Manifest(
            name="refcoco-m",
            unannotated="unknown",
            origin="RefCOCO-M (moondream/refcoco-m)",
            licence="annotations MIT; images under the terms of COCO",
        )

    def columns(self, known: Sequence[str], where: str) -> tuple[str, ...]:
        """Return the columns to read.

        Raises:
            LayoutError: If the file has other columns.
        """
        return _checked(("file_name", "samples", "image"), known, where)[:2]

    @staticmethod
    def phrases(row: Mapping[str, Any], size: tuple[int, int], where: str) -> tuple[list[Phrase], list[Skipped]]:
        """Return each sentence with the mask of its object.

        Raises:
            RecordError: If the row has another form, or a mask another size.
        """
        found, left = list[Phrase](), list[Skipped]()
        try:
            for sample in row["samples"]:
                mask = read_mask(sample["mask"], size, where)
                texts = [text.strip() for text in sample["sentences"] if text.strip()]
                found += [Phrase(text, (mask,)) for text in texts if isinstance(mask, Mask)]
                left += [] if isinstance(mask, Mask) else [mask]
        except (KeyError, TypeError, AttributeError) as error:
            raise RecordError(f"{where}: `samples` has another form ({error!r}); download it again") from error
        return found, left


class GroundingME(PhraseTable):
    """The rejection part of GroundingME, or RefCOCOg_rej of the same authors: descriptions that fit nothing.

    The other parts of GroundingME have boxes, and no masks.
    """

    def manifest(self, columns: Sequence[str]) -> Manifest:
        """Return what holds for all records of one of the two data sets."""
        return Manifest(
            name="refcocog-rej" if MEANINGS[1] in columns else "groundingme-rejection",
            unannotated="unknown",
            origin="GroundingME (lirang04/GroundingME, lirang04/RefCOCOg_rej)",
            licence="as its authors state; images under the terms of SA-1B, HR-Bench and COCO",
        )

    def columns(self, known: Sequence[str], where: str) -> tuple[str, ...]:
        """Return the columns to read.

        Raises:
            LayoutError: If the file has other columns.
        """
        meaning = next((name for name in MEANINGS if name in known), MEANINGS[0])
        parts = ("subtask_l1",) if meaning == MEANINGS[0] else ()
        return _checked(("id", meaning, *parts, "image"), known, where)[:-1]

    def keeps(self, path: Path, columns: Sequence[str]) -> Iterator[bool]:
        """Yield for each row whether it belongs to the rejection part."""
        if "subtask_l1" not in columns:
            return super().keeps(path, columns)
        return (str(part).lower() == REJECTION for part in column(path, "subtask_l1"))

    @staticmethod
    def phrases(row: Mapping[str, Any], size: tuple[int, int], where: str) -> tuple[list[Phrase], list[Skipped]]:
        """Return the description, which fits nothing."""
        text = str(next((row[name] for name in MEANINGS if name in row), "") or "").strip()
        return ([Phrase(text, ())], []) if text else ([], [Skipped("phrase without words", where)])


def _checked(columns: tuple[str, ...], known: Sequence[str], where: str) -> tuple[str, ...]:
    if missing := [name for name in columns if name not in known]:
        raise LayoutError(f"{where}: it has no column {', '.join(missing)}; there are {', '.join(known)}")
    return columns
