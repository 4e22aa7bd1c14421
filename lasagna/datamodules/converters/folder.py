"""The user's own data: a folder of images with a file of JSON lines (``docs/data_format.md``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.core.images import Window
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Manifest, Phrase, Question, Record, Region, Turn
from lasagna.datamodules.converters.common.base import Converter, ItemFiles, Split
from lasagna.datamodules.converters.common.coco import lost_parts, read_mask
from lasagna.datamodules.converters.common.entries import check_inner
from lasagna.datamodules.converters.common.files import LayoutError, read_upright_image_file
from lasagna.datamodules.converters.common.object_maps import mask_pixels
from lasagna.datamodules.converters.common.stored_items import StoredItems
from lasagna.datamodules.converters.folder_captions import caption_spans
from lasagna.datamodules.converters.folder_lines import (
    HEAD,
    check_line,
    manifest_of,
    others_of,
    window_of,
)
from lasagna.datamodules.converters.json_lines import Line, Lines, line_at
from lasagna.datamodules.shards.key_index import KeyIndex
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

FILE = "annotations.jsonl"


class Folder(Converter):
    """A user's own folder: "annotations.jsonl" with a line for each image, and the files that the lines name.

    Names and ignored pixels are what the file says; nothing is guessed. Photographs that an EXIF tag turns are stored
    upright, so masks must be drawn on the upright picture, as annotation programs show it.

    Args:
        source: The folder.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that the lines name; lines without a split belong to "train".

        Raises:
            LayoutError: If the file is missing, or a line is not JSON, names an image a second time, or names a file
                outside of the folder.
            RecordError: If a line has an unknown field, lacks a required one, or names a category that is not listed.
        """
        path = self.source / FILE
        lines, keys, parts = Lines(path, HEAD), KeyIndex(), dict[str, None]()
        for line in lines.images():
            check_line(line)
            part, key = _split_of(line), _key(line)
            parts[part] = None
            if (first := keys.add(f"{part}/{key}", line.where)) is not None:
                raise LayoutError(
                    f"{line.where}: its key {key!r} is also that of {first}; write one line for each image, "
                    "or give one of them its own 'key'"
                )
        if not parts:
            raise LayoutError(f"{path}: it names no images; expected a line of JSON for each image")
        manifest = manifest_of(self.source, lines)
        read = ReadLine(path, manifest, window_of(self.source, lines))
        return {name: self._split(read, lines, name) for name in parts}

    def _split(self, read: ReadLine, lines: Lines, name: str) -> Split:
        items = StoredItems(self._item(line) for line in lines.images() if _split_of(line) == name)
        return Split(read.manifest, items, read, ItemFiles(items), annotations=(read.path,))

    def _item(self, line: Line) -> LineItem:
        names = dict.fromkeys((line.fields["image"], *others_of(line)[0], *mask_files(line.fields)))
        paths = tuple(self.source / check_inner(name, line.where) for name in names)
        return LineItem(_key(line), line.where, line.offset, paths)


@dataclass(frozen=True)
class LineItem:
    """The place of a line.

    Args:
        key: Name of the record.
        where: File and number of the line, for messages.
        offset: Where it begins, in bytes.
        files: The image, further images and the mask files that it names.
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
    """Reads the annotations of a line.

    Args:
        path: The file of lines; other files are relative to its folder.
        manifest: What holds for all records.
        window: Values of deep images that become black and white, where a line does not say; None for all 16 bits.
    """

    path: Path
    manifest: Manifest
    window: Window | None = None

    def __call__(self, item: LineItem) -> ReadResult:
        """Read one line, given its place.

        Raises:
            RecordError: If a file that it names is broken, or a mask is invalid or of another size than the image.
        """
        line = line_at(self.path, item.where, item.offset)
        check_line(line)
        try:
            window = line.fields.get("window") or self.window
            image_bytes, size = read_upright_image_file(self.path.parent / line.fields["image"], window)
            names, place = others_of(line)
            others = tuple(read_upright_image_file(self.path.parent / name, window)[0] for name in names)
        except RecordError as error:
            raise RecordError(f"{line.where}: {error}") from error
        annotations = _Annotations(line, self.path.parent, size)
        record = Record(
            _key(line), image_bytes, size, self.manifest, others=others, masks_on=place, **annotations.fields()
        )
        return ReadResult(record, tuple(annotations.left_out))


class _Annotations:
    """The annotations of a line, and what was left out of them."""

    def __init__(self, line: Line, root: Path, size: tuple[int, int]) -> None:
        self.line, self.root, self.size = line, root, size
        self.left_out: list[Skipped] = []

    def fields(self) -> dict[str, Any]:
        regions = [(part["name"], self._region(part, rank)) for rank, part in self._parts("categories")]
        unclear = [*(self.line.fields.get("unclear") or ()), *(name for name, region in regions if region is None)]
        ignore = self.line.fields.get("ignore")
        ignored = self._masks([] if ignore is None else [ignore], "ignore", 0)
        return {
            "regions": tuple(region for _, region in regions if region is not None),
            "phrases": tuple(self._phrases()),
            "questions": tuple(self._questions()),
            "conversation": tuple(Turn(part["question"], part["answer"]) for _, part in self._parts("conversation")),
            "captions": tuple(self._caption(part, rank) for rank, part in self._parts("captions")),
            "absent": tuple(self.line.fields.get("absent") or ()),
            "ignore": ignored[0] if ignored else None,
            "unclear": tuple(dict.fromkeys(unclear)),
        }

    def _region(self, part: Mapping[str, Any], rank: int) -> Region | None:
        """Return a category, or None if one of its masks is left out."""
        if part.get("mask") is not None:
            whole = self._masks([part["mask"]], "categories", rank)
            return Region(part["name"], whole[0]) if whole else None
        masks, crowds = (self._masks(part.get(field) or (), "categories", rank) for field in ("masks", "crowds"))
        return None if masks is None or crowds is None else Region.of_objects(part["name"], masks, crowds)

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

    def _caption(self, part: Mapping[str, Any], rank: int) -> Caption:
        """Return a caption; a phrase of which a mask is left out keeps its words only."""
        told = part.get("phrases") or ()
        spans = caption_spans(part["text"], [phrase["text"] for phrase in told], self.line.where)
        found = [(span, self._masks(one["masks"], "captions", rank)) for span, one in zip(spans, told, strict=True)]
        return Caption(part["text"], tuple(CaptionPhrase(span, masks) for span, masks in found if masks))

    def _masks(self, codes: Sequence[Any], field: str, rank: int) -> tuple[Mask, ...] | None:
        """Return the masks, or None if one of them is left out, since the others alone would be incomplete."""
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


def _split_of(line: Line) -> str:
    return line.fields.get("split") or "train"


def _key(line: Line) -> str:
    return line.fields.get("key") or Path(line.fields["image"]).with_suffix("").as_posix()


FORMS = '"file.png", {"png": "file.png", "value": 3}, COCO RLE or a list of polygons [x0, y0, x1, y1, ...]'
PNG, VALUE = "png", "value"


def read_own_mask(code: Any, root: Path, size: tuple[int, int], where: str) -> Mask | Skipped:  # noqa: ANN401
    """Read a mask in any form.

    Args:
        code: A mask file, whose pixels above zero are the mask; an object with the file and the value of the mask's
            pixels; or a mask in one of COCO's encodings.
        root: Folder that file names are relative to.
        size: Height and width of the image.
        where: Whose it is, for messages.

    Returns:
        The mask, or why it is left out: it has no pixel.

    Raises:
        RecordError: If it is not a mask, its file is broken, or it has another size than the image.
    """
    name = mask_file(code)
    if name is None:
        if not isinstance(code, (list, Mapping)):
            raise RecordError(f"{where}: expected a mask ({FORMS}), got {str(code)[:60]!r}")
        return read_mask(code, size, where)
    try:
        pixels = mask_pixels(
            root / name, str(root / name), code[VALUE] if isinstance(code, Mapping) and VALUE in code else None
        )
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    if pixels.shape != size:
        raise RecordError(f"{where}: {name} has size {pixels.shape}, the image has {size}; both must agree")
    return RLEMask.from_array(pixels) if pixels.any() else Skipped("mask without a pixel", where)


def mask_file(code: Any) -> str | None:  # noqa: ANN401
    """Return the name of the file that a mask is in, or None if it is not in a file."""
    found = code.get(PNG) if isinstance(code, Mapping) else code
    return found if isinstance(found, str) else None


def mask_files(fields: Mapping[str, Any]) -> Iterator[str]:
    """Return the names of the files of all masks in a line."""
    codes = [part.get("mask") for part in fields.get("categories") or ()]
    codes += [code for part in fields.get("categories") or () for code in part.get("crowds") or ()]
    told = [phrase for part in fields.get("captions") or () for phrase in part.get("phrases") or ()]
    codes += [code for phrase in told for code in phrase["masks"]]
    for field in ("categories", "phrases", "questions"):
        codes += [code for part in fields.get(field) or () for code in part.get("masks") or ()]
    codes.append(fields.get("ignore"))
    yield from (name for code in codes if (name := mask_file(code)) is not None)
