"""The user's own data: a folder of images with a file of JSON lines (``docs/data_format.md``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Phrase, Question, Record, Region, Turn
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.coco import lost_parts
from lasagna.datamodules.converters.common.files import LayoutError, check_inner
from lasagna.datamodules.converters.common.upright import read_upright_image_file
from lasagna.datamodules.converters.folder_lines import Line, check_line, line_at, mask_files, read_lines, read_own_mask
from lasagna.datamodules.converters.folder_manifest import has_head, manifest_of
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

FILE = "annotations.jsonl"


class Folder(Converter):
    """A folder of one's own: "annotations.jsonl" with a line for each image, and what the lines name.

    Names and void values are what the file says; nothing is guessed. Photographs that an EXIF tag turns are stored
    upright, so masks must be drawn on the upright picture, as programs for it show it.

    Args:
        source: The folder.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that the lines name, "train" where they name none.

        Raises:
            LayoutError: If the file is missing, or a line is no JSON, names an image a second time, or a file
                that is elsewhere.
            RecordError: If a line has a field that is none, lacks one, or names a category that is not listed.
        """
        path = self.source / FILE
        lines = list(read_lines(path))
        parts: dict[str, dict[str, Line]] = {}
        for line in lines[1:] if has_head(lines) else lines:
            check_line(line)
            _add(parts.setdefault(line.fields.get("split") or "train", {}), line)
        if not parts:
            raise LayoutError(f"{path}: it names no image; expected a line of JSON for each image")
        manifest = manifest_of(self.source, lines)
        return {name: self._split(path, manifest, list(part.values())) for name, part in parts.items()}

    def _split(self, path: Path, manifest: Manifest, lines: Sequence[Line]) -> Split:
        items = [self._item(line) for line in lines]
        files = dict.fromkeys(file for item in items for file in item.files)
        return Split(manifest, items, ReadLine(path, manifest), list(files), annotations=(path,))

    def _item(self, line: Line) -> LineItem:
        names = dict.fromkeys((line.fields["image"], *mask_files(line.fields)))
        files = tuple(self.source / check_inner(name, line.where) for name in names)
        return LineItem(_key(line), line.where, line.offset, files)


@dataclass(frozen=True)
class LineItem:
    """Where a line is.

    Args:
        key: Name of the record.
        where: File and number of the line, for messages.
        offset: Where it begins, in bytes.
        files: The image and the mask files that it names.
    """

    key: str
    where: str
    offset: int
    files: tuple[Path, ...]

    @property
    def image(self) -> Path:
        """The image file."""
        return self.files[0]


@dataclass(frozen=True)
class ReadLine:
    """Reads what a line says.

    Args:
        path: The file of lines; others are named from its folder.
        manifest: What holds for all records.
    """

    path: Path
    manifest: Manifest

    def __call__(self, item: LineItem) -> ReadResult:
        """Read one line, given where it is.

        Raises:
            RecordError: If a file that it names is broken, or a mask is none or of another size than the image.
        """
        line = line_at(self.path, item.where, item.offset)
        check_line(line)
        try:
            image_bytes, size = read_upright_image_file(self.path.parent / line.fields["image"])
        except RecordError as error:
            raise RecordError(f"{line.where}: {error}") from error
        annotations = _Annotations(line, self.path.parent, size)
        record = Record(_key(line), image_bytes, size, self.manifest, **annotations.fields())
        return ReadResult(record, tuple(annotations.left_out))


class _Annotations:
    """What a line says of its image, and what was left out of it."""

    def __init__(self, line: Line, root: Path, size: tuple[int, int]) -> None:
        self.line, self.root, self.size = line, root, size
        self.left_out: list[Skipped] = []

    def fields(self) -> dict[str, Any]:
        regions = [
            (part["name"], self._masks([part["mask"]], "categories", rank)) for rank, part in self._parts("categories")
        ]
        unclear = [*(self.line.fields.get("unclear") or ()), *(name for name, masks in regions if masks is None)]
        ignore = self.line.fields.get("ignore")
        ignored = self._masks([] if ignore is None else [ignore], "ignore", 0)
        return {
            "regions": tuple(Region(name, mask) for name, masks in regions for mask in masks or ()),
            "phrases": tuple(self._phrases()),
            "questions": tuple(self._questions()),
            "conversation": tuple(Turn(part["question"], part["answer"]) for _, part in self._parts("talk")),
            "absent": tuple(self.line.fields.get("absent") or ()),
            "ignore": ignored[0] if ignored else None,
            "unclear": tuple(dict.fromkeys(unclear)),
        }

    def _phrases(self) -> list[Phrase]:
        found = [(part, self._masks(part["masks"], "phrases", rank)) for rank, part in self._parts("phrases")]
        return [Phrase(part["text"], masks, part.get("kind") or "") for part, masks in found if masks is not None]

    def _questions(self) -> list[Question]:
        questions = []
        for rank, part in self._parts("questions"):
            coded, answer = part.get("masks"), part.get("answer") or ""
            masks = None if coded is None else self._masks(coded, "questions", rank)
            if coded is None and not answer:
                raise RecordError(f"{self.line.where}: questions[{rank}]: it has neither 'answer' nor 'masks'")
            if coded is None or masks is not None:
                questions.append(Question(part["text"], answer, masks, part.get("kind") or ""))
        return questions

    def _masks(self, codes: Sequence[Any], field: str, rank: int) -> tuple[Mask, ...] | None:
        """Return the masks; None if one of them is left out, since without it the others would say too little."""
        where = f"{self.line.where}: {field}[{rank}]"
        found = [read_own_mask(code, self.root, self.size, where) for code in codes]
        self.left_out += [mask for mask in found if isinstance(mask, Skipped)]
        for code, mask in zip(codes, found, strict=True):
            self.left_out += lost_parts(code, self.size, where) if isinstance(mask, Mask) else ()
        kept = tuple(mask for mask in found if isinstance(mask, Mask))
        if len(kept) == len(codes):
            return kept
        if field in ("phrases", "questions"):
            self.left_out.append(Skipped(f"one of the {field}, since a mask of it is left out", where))
        return None

    def _parts(self, field: str) -> list[tuple[int, Mapping[str, Any]]]:
        return list(enumerate(self.line.fields.get(field) or ()))


def _key(line: Line) -> str:
    return line.fields.get("key") or Path(line.fields["image"]).with_suffix("").as_posix()


def _add(part: dict[str, Line], line: Line) -> None:
    key = _key(line)
    if key in part:
        raise LayoutError(
            f"{line.where}: its key {key!r} is that of {part[key].where} too; write one line for an image, or give one "
            "of them a 'key' of its own"
        )
    part[key] = line
