"""Read rows of tables: their images, label images, and masks with names or phrases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from lasagna.core.json_text import parse_json
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Manifest, Phrase, Record, Region
from lasagna.datamodules.converters.common.coco import lost_parts, read_mask
from lasagna.datamodules.converters.common.exported_names import exported_file
from lasagna.datamodules.converters.common.files import (
    Exif,
    LayoutError,
    annotated_image,
    png_of,
    read_file,
    shorten,
)
from lasagna.datamodules.converters.common.label_scheme import LabelScheme
from lasagna.datamodules.converters.common.object_maps import mask_pixels
from lasagna.datamodules.converters.parquet_files import RowItem, cells
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError


@dataclass(frozen=True)
class ReadRow:
    """Reads a row.

    Args:
        folder: What paths of images are relative to.
        columns: The column of each role.
        manifest: What holds for all records.
        scheme: What the values of label images mean, or None.
        names: The category of each name, and of each number of a class.
        exif: How images were annotated that an EXIF tag turns.
    """

    folder: Path
    columns: Mapping[str, str]
    manifest: Manifest
    scheme: LabelScheme | None
    names: Mapping[str | int, str]
    exif: Exif

    def __call__(self, item: RowItem) -> ReadResult:
        """Read one row.

        Raises:
            RecordError: If the row, its image or a mask is broken, or a class has no name.
        """
        values = cells(item.path, item.group, tuple(self.columns.values()), item.row)
        row = {role: values[name] for role, name in self.columns.items()}
        where, stated, labels = f"{item.path.name}: row {item.key}", None, None
        if self.scheme is not None:
            pixels = self.scheme.read(BytesIO(file_content(row["labels"], self.folder, where)), f"{where}: labels")
            stated, labels = pixels.shape, png_of(pixels)
        content = file_content(row["image"], self.folder, where)
        cell = row["image"]
        name = (cell.get("path") if isinstance(cell, Mapping) else cell if isinstance(cell, str) else "") or "image"
        data, size = annotated_image(content, f"{where}: {name}", stated, self.exif)
        objects = RowObjects(row, size, self.folder, where)
        regions, unclear = objects.regions(self.names)
        phrases = objects.phrases()
        record = Record(item.key, data, size, self.manifest, regions, phrases, label_bytes=labels, unclear=unclear)
        return ReadResult(record, tuple(objects.left_out))


def file_content(cell: Any, folder: Path, where: str) -> bytes:  # noqa: ANN401
    """Return the content of a file that is in a cell: as bytes, as ``datasets`` stores images, or as a path.

    Args:
        cell: The cell.
        folder: What paths are relative to.
        where: Whose it is, for messages.

    Raises:
        RecordError: If the cell is empty, is an address, or names a file that is missing or outside of the folder.
    """
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if isinstance(content, bytes):
        return content
    name = cell.get("path") if isinstance(cell, Mapping) else cell
    if not isinstance(name, str) or not name:
        raise RecordError(f"{where}: expected the content or the path of an image, got {str(cell)[:60]!r}")
    if "://" in name:
        raise RecordError(f"{where}: {name!r} is an address, and nothing is downloaded; store the images in the table")
    try:
        path = exported_file(folder, name, where, "")
    except LayoutError as error:
        raise RecordError(str(error)) from error
    return read_file(path)


class RowObjects:
    """The masks of a row, and what was left out of them.

    Args:
        row: The cell of each role.
        size: Height and width of the image.
        folder: What paths of masks are relative to.
        where: Whose they are, for messages.

    Raises:
        RecordError: If a mask is invalid, or there are not as many masks as names or texts.
    """

    def __init__(self, row: Mapping[str, Any], size: tuple[int, int], folder: Path, where: str) -> None:
        self.size, self.folder, self.where = size, folder, where
        self.left_out: list[Skipped] = []
        self.names, self.texts, cell = row.get("names"), row.get("texts"), _parsed(row.get("masks"))
        said = self.names if "names" in row else self.texts
        self.has_several = isinstance(said, list) and ("names" in row or not _is_one(cell))
        codes = (cell or []) if self.has_several else [cell] if "masks" in row else []
        for what, others in (("names", self.names), ("texts", self.texts)) if self.has_several else ():
            if isinstance(others, list) and (not isinstance(codes, list) or len(others) != len(codes)):
                count = len(codes) if isinstance(codes, list) else "not a list of"
                raise RecordError(f"{where}: {len(others)} {what} and {count} masks; there must be one for each")
        self.masks = [self._mask(code, f"{where}: mask {rank}") for rank, code in enumerate(codes)]

    def regions(self, names: Mapping[str | int, str]) -> tuple[tuple[Region, ...], tuple[str, ...]]:
        """Return the categories with their objects, and the categories of which a mask was left out.

        Args:
            names: The category of each name or number.

        Raises:
            RecordError: If one is not among them.
        """
        found: dict[str, list[Mask]] = {}
        unclear: dict[str, None] = {}
        listed = self.names if isinstance(self.names, list) else [] if self.names is None else [self.names]
        for name, mask in zip(listed, self.masks, strict=True) if listed else ():
            if name not in names:
                known = shorten([f"{code} ({word})" if code != word else word for code, word in names.items()])
                raise RecordError(f"{self.where}: the class {name!r} has no name; there are {known}")
            if mask is None:
                unclear[names[name]] = None
            else:
                found.setdefault(names[name], []).append(mask)
        return tuple(Region.of_objects(name, masks) for name, masks in found.items()), tuple(unclear)

    def phrases(self) -> tuple[Phrase, ...]:
        """Return the phrases; one that means a mask which was left out is left out as well."""
        texts = self.texts if isinstance(self.texts, list) else [] if self.texts is None else [self.texts]
        phrases = []
        for rank, text in enumerate(texts):
            targets = [self.masks[rank]] if self.has_several and isinstance(self.texts, list) else self.masks
            masks = tuple(mask for mask in targets if mask is not None)
            if not isinstance(text, str) or not text.strip():
                self.left_out.append(Skipped("phrase without words", self.where))
            elif len(masks) < len(targets):
                self.left_out.append(Skipped("phrase without a mask", f"{text!r} of {self.where}"))
            else:
                phrases.append(Phrase(text.strip(), masks))
        return tuple(phrases)

    def _mask(self, code: Any, where: str) -> Mask | None:  # noqa: ANN401
        """Return a mask, or None if it is left out."""
        if isinstance(code, bytes) or (isinstance(code, Mapping) and "counts" not in code):
            pixels = mask_pixels(BytesIO(file_content(code, self.folder, where)), where)
            if pixels.shape != self.size:
                raise RecordError(f"{where}: it has size {pixels.shape}, the image {self.size}; both must agree")
            mask: Mask | Skipped = (
                RLEMask.from_array(pixels) if pixels.any() else Skipped("mask without a pixel", where)
            )
        else:
            # one polygon alone is a list of numbers
            code = [code] if isinstance(code, list) and _is_one(code) else code
            mask = read_mask(code, self.size, where)
            self.left_out += [] if isinstance(mask, Skipped) else lost_parts(code, self.size, where)
        if isinstance(mask, Skipped):
            self.left_out.append(mask)
            return None
        return mask


def _is_one(cell: Any) -> bool:  # noqa: ANN401
    """Return whether a cell is one mask rather than a list: the content of an image, RLE, or a polygon."""
    return not isinstance(cell, list) or (bool(cell) and all(isinstance(part, (int, float)) for part in cell))


def _parsed(cell: Any) -> Any:  # noqa: ANN401
    """Return the content of a cell, which may be JSON as a text."""
    try:
        return parse_json(cell) if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{") else cell
    except ValueError:
        return cell
