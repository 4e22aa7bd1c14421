"""What holds for all of the user's own data: said in a file, in the first line, or gathered from all lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lasagna.core.prompt_format import normalise
from lasagna.core.prompt_formats import PROMPT_FORMATS
from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.coco import read_json
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.folder_lines import NAME_LISTS, Line, check_fields
from lasagna.errors import QueryError, RecordError

FILE = "dataset.json"
HEAD = {"name": str, "categories": list, "unannotated": str, "origin": str, "licence": str, "aliases": dict}


def has_head(lines: Sequence[Line]) -> bool:
    """Say whether the first line is about all images, rather than about one."""
    return bool(lines) and "image" not in lines[0].fields and lines[0].fields.keys() <= HEAD.keys()


def manifest_of(root: Path, lines: Sequence[Line]) -> Manifest:
    """Return what holds for all images.

    Where no categories are listed they are those of the lines, sorted. Unless it is said otherwise, what is not
    annotated on an image is unknown.

    Args:
        root: The folder.
        lines: All lines.

    Raises:
        LayoutError: If it is said in two places, or not as it should be.
        RecordError: If a line has a category that is not listed, or spelled in two ways, or one with a separator.
    """
    head, where = _head(root, lines)
    unannotated: Any = head.get("unannotated") or "unknown"
    if unannotated not in ("absent", "unknown"):
        raise LayoutError(f"{where}: unannotated: expected 'absent' or 'unknown', got {unannotated!r}")
    listed = head.get("categories") or []
    for name in listed:
        _check_name(name, where)
    found = _gather(lines[1:] if has_head(lines) else lines, listed)
    return Manifest(
        name=head.get("name") or root.resolve().name,
        categories=tuple(listed or sorted(found)),
        unannotated=unannotated,
        origin=head.get("origin") or "the user's own data",
        licence=head.get("licence") or "the user's own",
        aliases={str(name): tuple(map(str, others)) for name, others in (head.get("aliases") or {}).items()},
    )


def _head(root: Path, lines: Sequence[Line]) -> tuple[Mapping[str, Any], str]:
    path = root / FILE
    if path.is_file() and has_head(lines):
        raise LayoutError(f"{lines[0].where}: this line and {path} both say what holds for all; keep one of them")
    head, where = (lines[0].fields, lines[0].where) if has_head(lines) else ({}, str(path))
    if path.is_file():
        head = read_json(path)
    try:
        check_fields(head, HEAD, (), where)
    except (RecordError, AttributeError) as error:
        raise LayoutError(f"{error}" if isinstance(error, RecordError) else f"{where}: expected an object") from error
    return head, where


def _gather(lines: Sequence[Line], listed: Sequence[str]) -> set[str]:
    """Return the names of all lines, each checked where it is first met."""
    known = {normalise(name): (name, "the list of categories") for name in listed}
    for line in lines:
        for name in _names(line):
            if name not in listed and listed:
                near = get_close_matches(name, listed, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "list it in 'categories', or correct it"
                raise RecordError(f"{line.where}: {name!r} is none of the listed categories; {hint}")
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
            f"{where}: categories: expected names, got {str(name)[:60]!r}; a line of an image has 'image'"
        )
    try:
        for prompt_format in PROMPT_FORMATS.values():
            prompt_format.check("categories", [name])
    except QueryError as error:
        raise RecordError(f"{where}: {str(error).removeprefix('query: ')}; choose another name") from error


def spoken_labels(labels: Iterable[str]) -> dict[str, str]:
    """Return the name of each label: underscores are blanks, and the spelling stays.

    Labels that differ by case, underscores or blanks alone are one name, in the spelling of the first.

    Args:
        labels: The labels as they are written.
    """
    first: dict[str, str] = {}
    return {label: first.setdefault(normalise(_spaced(label)), _spaced(label)) for label in labels}


def other_labels(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return for each name the labels that are written otherwise, if there are any.

    Args:
        names: The name of each label.
    """
    found: dict[str, tuple[str, ...]] = {}
    for label, name in names.items():
        if label != name:
            found[name] = (*found.get(name, ()), label)
    return found


def _spaced(label: str) -> str:
    return " ".join(label.replace("_", " ").split()) or label
