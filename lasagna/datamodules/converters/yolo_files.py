"""The files of a data set in YOLO's form: the classes and splits of ``data.yaml``, and where images and labels are.

Source: the data set pages of docs.ultralytics.com, and the pages of CVAT, Label Studio and Roboflow on this form.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml  # type: ignore[import-untyped]

from lasagna.datamodules.converters.common.exported_names import exported_file
from lasagna.datamodules.converters.common.files import LayoutError, read_file, shorten, text_lines
from lasagna.errors import RecordError

SPLITS = ("train", "val", "valid", "test")
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".heic")
EXPECTED = """
  data.yaml with `names`, `train` and `val`, and the folders that it names, with images/ and labels/ of the same tree,
  or classes.txt with images/ and labels/"""

BOX = 4
"""Numbers of a box after the number of its class: its centre, its width and its height."""

LOWEST, HIGHEST = -1.0, 2.0
"""Bounds of fractions; polygons that were augmented reach somewhat beyond the image, those in pixels farther."""


@dataclass(frozen=True)
class YoloLayout:
    """What a data set in YOLO's form consists of.

    Args:
        path: The file that names the classes.
        names: Name of each class by its number.
        places: For each split, the folders of its images and files that list some.
    """

    path: Path
    names: Mapping[int, str]
    places: Mapping[str, Sequence[Path]]


def read_layout(source: Path, data: Path | None = None) -> YoloLayout:
    """Read ``data.yaml``, or ``classes.txt`` where there is no such file.

    Paths in it may be those of another machine; the longest ending that exists in the source is taken.

    Args:
        source: The folder of the data set.
        data: The file, if it has another name or place.

    Raises:
        LayoutError: If neither exists, or names or paths in it are of no use.
    """
    found = [data] if data else sorted((*source.glob("*.yaml"), *source.glob("*.yml")))
    usual = [path for path in found if path.name == "data.yaml"] or found
    if len(usual) > 1:
        raise LayoutError(f"source: {source} holds {', '.join(path.name for path in usual)}; choose one by `--data`")
    if usual:
        return _described(source, usual[0])
    path = source / "classes.txt"
    if not path.is_file():
        raise LayoutError(f"source: there is no data.yaml in {source}; expected{EXPECTED}")
    parts = {split: [source / "images" / split] for split in SPLITS if (source / "images" / split).is_dir()}
    names = [line.strip() for line in text_lines(path) if line.strip()]
    return YoloLayout(path, _checked_names(names, path), parts or {"train": [source / "images"]})


def _described(source: Path, path: Path) -> YoloLayout:
    try:
        content = yaml.safe_load(path.read_text("utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise LayoutError(f"{path}: the file cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise LayoutError(f"{path}: expected `names`, `train` and `val`, got {reprlib.repr(content)}")
    # values are shown by reprlib, since aliases in YAML can stand for lists of any size
    if "kpt_shape" in content:
        raise LayoutError(f"{path}: `kpt_shape` says that its labels are key points; export polygons instead")
    names = _checked_names(content.get("names"), path)
    if isinstance(count := content.get("nc"), int) and count != len(names):
        raise LayoutError(f"{path}: `nc` is {count}, but `names` has {len(names)}; correct one of them")
    places = {}
    for split in SPLITS:
        named, root = content.get(split) or [], content.get("path")
        for place in (values := named if isinstance(named, list) else [named]):
            if not isinstance(place, str):
                raise LayoutError(f"{path}: {split}: expected a folder or a list of images, got {reprlib.repr(place)}")
        if values:
            places[split] = [
                _place(source, root if isinstance(root, str) else "", value, path, split) for value in values
            ]
    if not places:
        raise LayoutError(f"{path}: it names no images; expected `train`, `val` or `test` with a folder")
    return YoloLayout(path, names, places)


def _checked_names(names: Any, path: Path) -> dict[int, str]:  # noqa: ANN401
    """Return the classes of a list or a mapping."""
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(pairs, dict) or not pairs:
        raise LayoutError(f"{path}: names: expected a list, or a mapping of number to name, got {reprlib.repr(names)}")
    for number, name in pairs.items():
        if not str(number).isdecimal():
            raise LayoutError(f"{path}: names: expected the number of a class, got {number!r}")
        # YAML reads no, off and null as other things than texts
        if isinstance(name, bool) or not isinstance(name, (str, int)) or not str(name).strip():
            raise LayoutError(
                f"{path}: names: {number}: expected a text, got {reprlib.repr(name)}; put the name in quotes"
            )
    return {int(number): str(name).strip() for number, name in pairs.items()}


def _inner(name: str) -> tuple[str, ...]:
    """Return the parts of a path after its root and its last ".."."""
    path = PureWindowsPath(name)
    parts = path.parts[bool(path.anchor) :]
    return parts[len(parts) - parts[::-1].index("..") :] if ".." in parts else parts


def _place(source: Path, root: str, name: str, path: Path, split: str) -> Path:
    """Return the folder or list that a name means; Roboflow's begin with "..", others are of another machine."""
    is_elsewhere = bool(PureWindowsPath(name).anchor)
    own = _inner(name)
    parts = own if is_elsewhere else (*_inner(root), *own)
    for first in range(len(parts) if is_elsewhere else len(parts) - len(own) + 1):
        if (found := source.joinpath(*parts[first:])).exists():
            return found
    raise LayoutError(
        f"{path}: {split}: there is no {name!r} in {source}; unpack it there, or remove the line if the export has no "
        f"such split"
    )


def image_files(source: Path, place: Path, where: str) -> list[Path]:
    """Return the images of a folder with its subfolders, sorted, or those that a text file lists, in its order.

    Args:
        source: The folder of the data set.
        place: The folder or the list.
        where: What names it, for messages.

    Raises:
        LayoutError: If there are none, or a list names a file outside of the source.
    """
    if place.is_dir():
        paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in IMAGES and path.name[0] != ".")
    else:
        lines = [line.strip() for line in text_lines(place) if line.strip()]
        paths = [exported_file(source, line, str(place), "") for line in lines]
    if not paths:
        raise LayoutError(f"{where}: there are no images in {place}; unpack them there")
    return paths


def label_file(source: Path, image: Path) -> Path:
    """Return where the labels of an image are: in ``labels`` in the place of its last ``images``, else beside it."""
    parts = list(image.relative_to(source).parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 1 - parts[::-1].index("images", 1)] = "labels"
    return source.joinpath(*parts).with_suffix(".txt")


def has_box(path: Path) -> bool:
    """Return whether a label file has an object with a box in the place of a polygon."""
    return any(len(line.split()) == 1 + BOX for line in read_file(path).splitlines())


def object_lines(path: Path) -> list[tuple[int, str]]:
    """Return the number of each line of a label file that is not empty, and its text.

    Raises:
        RecordError: If it cannot be read as text.
    """
    try:
        lines = read_file(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: the file cannot be read as text ({error})") from error
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]


def parse_object(line: str, names: Mapping[int, str], where: str) -> tuple[str, list[float]]:
    """Return the category of a line of a label file, and its other numbers: those of a box or of a polygon.

    Args:
        line: The line.
        names: The category of each class by its number.
        where: File and number of the line, for messages.

    Raises:
        RecordError: If it has something else, an unknown class, an x without a y, or pixels in the place of fractions.
    """
    try:
        first, *numbers = (float(word) for word in line.split())
        if not all(map(math.isfinite, (first, *numbers))) or first != int(first):
            raise ValueError
    except ValueError as error:
        raise RecordError(f"{where}: expected the number of a class and a polygon, got {line[:60]!r}") from error
    if int(first) not in names:
        known = shorten([f"{number} ({name})" for number, name in names.items()])
        raise RecordError(f"{where}: the class {int(first)} has no name; there are {known}; correct `names`")
    if len(numbers) % 2:
        raise RecordError(
            f"{where}: {len(numbers)} numbers after the class, so an x has no y; save predictions without confidences"
        )
    if not all(LOWEST <= number <= HIGHEST for number in numbers):
        raise RecordError(
            f"{where}: its points are not fractions of the image ({line[:40]} ...); divide x by the width and y by the "
            "height"
        )
    return names[int(first)], numbers
