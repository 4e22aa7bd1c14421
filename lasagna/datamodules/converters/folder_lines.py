"""The files of a user's own data: lines of JSON, one for each image, and the manifest that holds for all of them.

Everything is checked, and every message names the file and the line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lasagna.core.image_places import LAST, place_of
from lasagna.core.images import Window, check_window
from lasagna.core.prompt_format import normalise
from lasagna.core.prompt_formats import name_error
from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.entries import is_folder_name, read_json
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.folder_captions import caption_spans
from lasagna.datamodules.converters.json_lines import Line, Lines
from lasagna.datamodules.shards.fields import Fields
from lasagna.errors import RecordError

_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a whole number", object: "a mask"}

LINE = {
    "image": str,
    "key": str,
    "split": str,
    "categories": list,
    "absent": list,
    "unclear": list,
    "phrases": list,
    "questions": list,
    "conversation": list,
    "captions": list,
    "ignore": object,
    "window": list,
    "others": list,
    "masks_on": int,
}
"""Fields of a line; only the first is required."""

PARTS: dict[str, tuple[dict[str, type], tuple[str, ...]]] = {
    "categories": ({"name": str, "mask": object, "masks": list, "crowds": list}, ("name",)),
    "phrases": ({"text": str, "masks": list, "kind": str}, ("text", "masks")),
    "questions": ({"text": str, "answer": str, "masks": list, "kind": str}, ("text",)),
    "conversation": ({"question": str, "answer": str}, ("question", "answer")),
    "captions": ({"text": str, "phrases": list}, ("text",)),
}
"""For each list of objects, their fields and the required ones."""

CAPTION_PHRASE: dict[str, type] = {"text": str, "masks": list}
"""Fields of a phrase of a caption, all required."""

NAME_LISTS = ("absent", "unclear")
"""Fields that list names."""

HEAD_FILE = "dataset.json"
HEAD = {
    "name": str,
    "categories": list,
    "unannotated": str,
    "origin": str,
    "licence": str,
    "aliases": dict,
    "window": list,
}
"""Fields of the manifest, in ``dataset.json`` or in the first line."""


def check_line(line: Line) -> None:
    """Check that a line has the required fields, of the right types, and no unknown ones.

    Raises:
        RecordError: If it does not, if it says that a name is both absent and present, if its window is not two
            numbers, if it has no image at ``masks_on``, or if its split cannot be the name of a folder.
    """
    check_fields(line.fields, LINE, ("image",), line.where)
    others_of(line)
    _checked_window(line.fields, line.where)
    for field, (kinds, needed) in PARTS.items():
        for rank, part in enumerate(line.fields.get(field) or ()):
            place = f"{line.where}: {field}[{rank}]"
            if not isinstance(part, dict):
                raise RecordError(f"{place}: expected an object, got {str(part)[:60]!r}")
            check_fields(part, kinds, needed, place)
            if field == "categories":
                _check_masks(part, place)
            if field == "captions":
                _check_phrases(part, place)
    for field in NAME_LISTS:
        for rank, name in enumerate(line.fields.get(field) or ()):
            if not isinstance(name, str) or not name.strip():
                raise RecordError(f"{line.where}: {field}[{rank}]: expected a name, got {str(name)[:60]!r}")
    present = {part["name"] for part in line.fields.get("categories") or ()} | {*(line.fields.get("unclear") or ())}
    for rank, name in enumerate(line.fields.get("absent") or ()):
        if name in present:
            raise RecordError(
                f"{line.where}: absent[{rank}]: {name!r} is in 'categories' or 'unclear' as well; keep one of them"
            )
    if not is_folder_name(line.fields.get("split") or "train"):
        raise RecordError(f"{line.where}: split: expected a name that a folder can have, got {line.fields['split']!r}")


def others_of(line: Line) -> tuple[tuple[str, ...], int]:
    """Return the names of further images that are shown with that of a line, and the position of its own among all.

    Raises:
        RecordError: If one is not a name, or there is no image at the position.
    """
    others, given = line.fields.get("others") or (), line.fields.get("masks_on")
    place = LAST if given is None else given
    for rank, name in enumerate(others):
        if not isinstance(name, str) or not name.strip():
            raise RecordError(f"{line.where}: others[{rank}]: expected an image file, got {str(name)[:60]!r}")
    place_of(place, len(others) + 1, line.where)
    return tuple(others), place


def _check_phrases(part: Mapping[str, Any], place: str) -> None:
    phrases = part.get("phrases") or ()
    for rank, phrase in enumerate(phrases):
        if not isinstance(phrase, dict):
            raise RecordError(f"{place}: phrases[{rank}]: expected an object, got {str(phrase)[:60]!r}")
        check_fields(phrase, CAPTION_PHRASE, tuple(CAPTION_PHRASE), f"{place}: phrases[{rank}]")
    caption_spans(part["text"], [phrase["text"] for phrase in phrases], place)


def _check_masks(part: Mapping[str, Any], place: str) -> None:
    """Check that a category has either the mask of all its pixels, or one for each object or crowd."""
    apart, whole = bool(part.get("masks") or part.get("crowds")), part.get("mask") is not None
    if apart == whole:
        wrong = "'mask' is given beside 'masks' or 'crowds'" if apart else "'mask' is missing"
        raise RecordError(
            f"{place}: {wrong}; give all pixels of {part['name']!r} as 'mask', or a mask for each object as 'masks', "
            "with groups of objects as 'crowds'"
        )


def check_fields(fields: Mapping[str, Any], kinds: Mapping[str, type], needed: tuple[str, ...], where: str) -> None:
    """Check an object's fields.

    Args:
        fields: The object.
        kinds: The fields that it may have, with their types.
        needed: The fields that it must have.
        where: What it is, for messages.

    Raises:
        RecordError: If a required field is missing, a field is unknown, or a value has another type.
    """
    for name, value in fields.items():
        if name not in kinds:
            near = get_close_matches(name, kinds, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(kinds)}"
            raise RecordError(f"{where}: there is no field {name!r}; {hint}")
        if isinstance(value, bool) or (value is not None and not isinstance(value, kinds[name])):
            raise RecordError(f"{where}: {name}: expected {_KINDS[kinds[name]]}, got {str(value)[:60]!r}")
    for name in needed:
        value = fields.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            raise RecordError(f"{where}: {name!r} is missing or empty")


def manifest_of(root: Path, lines: Lines) -> Manifest:
    """Return the manifest, from ``dataset.json`` or the first line.

    If no categories are listed, they are all names of the lines, sorted. Unless stated otherwise, what is not annotated
    on an image is unknown.

    Args:
        root: The folder.
        lines: All lines.

    Raises:
        LayoutError: If there are two manifests, or one has a wrong field.
        RecordError: If a line has a category that is not listed, that is spelled in two ways, or that has a separator
            of a prompt format in its name.
    """
    head, where = _head(root, lines)
    unannotated: Any = head.get("unannotated") or "unknown"
    if unannotated not in ("absent", "unknown"):
        raise LayoutError(f"{where}: unannotated: expected 'absent' or 'unknown', got {unannotated!r}")
    try:
        aliases = Fields(head.get("aliases") or {}, "aliases").texts_of()
    except ValueError as error:
        raise LayoutError(f"{where}: {error}") from error
    listed = head.get("categories") or []
    for name in listed:
        _check_name(name, where)
    found = _gather(lines.images(), listed)
    return Manifest(
        name=head.get("name") or root.resolve().name,
        categories=tuple(listed or sorted(found)),
        unannotated=unannotated,
        origin=head.get("origin") or "the user's own data",
        licence=head.get("licence") or "the user's own",
        aliases=aliases,
    )


def window_of(root: Path, lines: Lines) -> Window | None:
    """Return the window of values of all deep images, from ``dataset.json`` or the first line, or None.

    Args:
        root: The folder.
        lines: All lines.

    Raises:
        LayoutError: If there are two manifests, or one has a wrong field.
        RecordError: If it is not two numbers in ascending order.
    """
    return _checked_window(*_head(root, lines))


def _checked_window(fields: Mapping[str, Any], where: str) -> Window | None:
    try:
        return None if fields.get("window") is None else check_window(fields["window"])
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error


def _head(root: Path, lines: Lines) -> tuple[Mapping[str, Any], str]:
    path, line = root / HEAD_FILE, lines.head()
    if path.is_file() and line is not None:
        raise LayoutError(f"{line.where}: this line and {path} both describe the data set; keep one of them")
    head, where = ({}, str(path)) if line is None else (line.fields, line.where)
    if path.is_file():
        head = read_json(path)
    if not isinstance(head, dict):
        raise LayoutError(f"{where}: expected an object, got {str(head)[:60]!r}")
    try:
        check_fields(head, HEAD, (), where)
    except RecordError as error:
        raise LayoutError(str(error)) from error
    return head, where


def _gather(lines: Iterable[Line], listed: Sequence[str]) -> set[str]:
    """Return the names of all lines; each is checked where it first occurs."""
    known = {normalise(name): (name, "the list of categories") for name in listed}
    for line in lines:
        for name in _names(line):
            if name not in listed and listed:
                near = get_close_matches(name, listed, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "list it in 'categories', or correct it"
                raise RecordError(f"{line.where}: {name!r} is not one of the listed categories; {hint}")
            spelled, first = known.setdefault(normalise(name), (name, line.where))
            if spelled != name:
                raise RecordError(f"{line.where}: {name!r} is spelled {spelled!r} in {first}; spell it in one way")
            if first == line.where:
                _check_name(name, line.where)
    return {name for name, _ in known.values()}


def _names(line: Line) -> Iterator[str]:
    parts = [part.get("name") for part in line.fields.get("categories") or () if isinstance(part, dict)]
    listed = [name for field in NAME_LISTS for name in line.fields.get(field) or ()]
    yield from (name for name in [*parts, *listed] if isinstance(name, str) and name.strip())


def _check_name(name: str, where: str) -> None:
    if not isinstance(name, str):
        raise RecordError(
            f"{where}: categories: expected names, got {str(name)[:60]!r}; the line of an image must have 'image'"
        )
    if error := name_error(name):
        raise RecordError(f"{where}: {error}; choose another name")
