"""The user's own data drawn with LabelMe: a JSON file for each image.

Source: ``wkentaro/labelme``, ``utils/shape.py`` (how shapes become pixels) and ``label_file.py`` (the file format).
"""

from __future__ import annotations

import math
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from os.path import normpath
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw

from lasagna.core.image_files import BROKEN_IMAGE, checked_size, image_fault
from lasagna.core.json_text import parse_json
from lasagna.core.masks import BoolMask, Mask, RLEMask, UnionMask, reaches_beyond
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.coco import check_no_fractions
from lasagna.datamodules.converters.common.entries import leads_out
from lasagna.datamodules.converters.common.files import LayoutError, label_pixels, read_upright_image_file, upright
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels
from lasagna.datamodules.shards.tally import BEYOND, ReadResult, Skipped
from lasagna.errors import RecordError

POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
"""Kinds of shapes that have an inside, and how many points they have; for polygons, at least as many."""


def draw_shape(shape: Mapping[str, Any], size: tuple[int, int]) -> BoolMask:
    """Draw a shape that has an inside.

    Args:
        shape: An entry of ``shapes`` in a LabelMe file.
        size: Height and width of the image.

    Returns:
        The pixels, bool ``[H, W]``.

    Raises:
        RecordError: If it has too few points, or its mask cannot be read.
    """
    kind = shape_kind(shape)
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        flat = [side for point in points for side in point]
        if len(points) < POINTS[kind] or not all(map(math.isfinite, flat)):
            raise ValueError(f"{len(points)} points, at least {POINTS[kind]} are needed")
        drawn = _pasted(shape["mask"], points[0], size) if kind == "mask" else _drawn(kind, points, size)
    except (KeyError, TypeError, *BROKEN_IMAGE) as error:
        raise RecordError(f"shape {shape['label']!r}: a {kind} that cannot be drawn ({image_fault(error)})") from error
    check_no_fractions(flat, size, f"shape {shape['label']!r}")
    return drawn


def shape_kind(shape: Mapping[str, Any]) -> str:
    """Return the kind of a shape; in old files polygons do not state it."""
    return str(shape.get("shape_type") or "polygon")


def _drawn(kind: str, points: list[tuple[float, float]], size: tuple[int, int]) -> BoolMask:
    canvas = Image.new("L", (size[1], size[0]))
    brush = ImageDraw.Draw(canvas)
    if kind == "polygon":
        brush.polygon(points, fill=1, outline=1)
    elif kind == "rectangle":
        columns, rows = zip(*points, strict=True)
        brush.rectangle([min(columns), min(rows), max(columns), max(rows)], fill=1, outline=1)
    else:
        (x, y), radius = points[0], math.dist(points[0], points[1])
        brush.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
    return np.asarray(canvas, dtype=bool)


def _pasted(code: str, corner: tuple[float, float], size: tuple[int, int]) -> BoolMask:
    """Return a mask that the file stores as an image, at its place; what lies outside of the image is cut off."""
    part = label_pixels(BytesIO(b64decode(code)), "its mask", "L") != 0
    canvas = Image.new("1", (size[1], size[0]))
    canvas.paste(Image.fromarray(part), (int(corner[0]), int(corner[1])))
    return np.asarray(canvas, dtype=bool)


SPLITS = ("train", "val", "test")
IGNORE = "__ignore__"


class LabelMe(Converter):
    """A folder of LabelMe's JSON files, or a folder with such folders "train", "val" and "test".

    Polygons, rectangles, circles and masks are drawn as LabelMe's own export draws them. Points and lines have no
    inside; they are counted as left out, and their labels are unclear on that image. Regions with the label
    "__ignore__" are ignored in training and scores. Names keep their spelling, but underscores become blanks; labels
    that differ only by case or blanks are one category, and the original labels are aliases. The image is the file that
    the JSON names, in this folder or one beside it, else the one stored in the JSON. An image that an EXIF tag turns is
    stored upright, as LabelMe shows it. Each shape is an object; shapes of one label with the same group are one.

    Args:
        source: The folder.
        unannotated: Whether a label that an image does not have is "absent" from it or "unknown".
    """

    def __init__(self, source: Path, unannotated: Literal["absent", "unknown"] = "unknown") -> None:
        self.source = source
        self.unannotated = unannotated

    def splits(self) -> Mapping[str, Split]:
        """Return the folders "train", "val" and "test" that exist, or all files as "train" if there are none.

        Raises:
            LayoutError: If there is no JSON file, or one names an image outside of the source and its sibling folders.
            RecordError: If one is not a LabelMe file.
        """
        named = {split: self.source / split for split in SPLITS if (self.source / split).is_dir()}
        files = {split: sorted(folder.glob("*.json")) for split, folder in (named or {"train": self.source}).items()}
        found = {split: paths for split, paths in files.items() if paths}
        if not found:
            raise LayoutError(f"source: there is no LabelMe file in {self.source}; expected <image>.json there")
        labels: set[str] = set()
        items = {split: [_item(path, labels, self.source) for path in paths] for split, paths in found.items()}
        names = spoken_labels(sorted(labels - {IGNORE}))
        read = ReadLabelMe(self._manifest(names), names)
        files = {split: [item.image for item in part if item.image] for split, part in items.items()}
        return {split: Split(read.manifest, part, read, files[split]) for split, part in items.items()}

    def _manifest(self, names: Mapping[str, str]) -> Manifest:
        return Manifest(
            name=self.source.resolve().name,
            categories=tuple(sorted(set(names.values()))),
            unannotated=self.unannotated,
            origin="the user's own data, drawn with LabelMe",
            licence="the user's own",
            aliases=other_labels(names),
        )


@dataclass(frozen=True)
class LabelMeItem:
    """One image.

    Args:
        key: Name of the record.
        path: The JSON file.
        image: The image file that it names, or None to use the image stored in it.
    """

    key: str
    path: Path
    image: Path | None


@dataclass(frozen=True)
class ReadLabelMe:
    """Reads a LabelMe file.

    Args:
        manifest: What holds for all records.
        names: The category of each label.
    """

    manifest: Manifest
    names: Mapping[str, str]

    def __call__(self, item: LabelMeItem) -> ReadResult:
        """Read one file with its image.

        Raises:
            RecordError: If the file, the image or a shape is broken, or the image has another size than stated.
        """
        path, content = item.path, _read(item.path)
        image_bytes, size = _stored_image(path, content) if item.image is None else read_upright_image_file(item.image)
        stated = content.get("imageHeight") or size[0], content.get("imageWidth") or size[1]
        if stated != size:
            raise RecordError(f"{path}: it was drawn on an image of size {stated}, but the image has size {size}")
        masks, left_out, lost = _masks(content["shapes"], size, path)
        ignored = [mask.decode() for label, _, mask in masks if label == IGNORE]
        ignore = RLEMask.from_array(np.any(ignored, axis=0)) if ignored else None
        unclear = tuple(dict.fromkeys(self.names[label] for label in lost if label != IGNORE))
        regions = self._regions(masks)
        record = Record(item.key, image_bytes, size, self.manifest, regions, ignore=ignore, unclear=unclear)
        return ReadResult(record, left_out)

    def _regions(self, drawn: Sequence[Drawn]) -> tuple[Region, ...]:
        """Return the categories; each shape is an object, or part of the one whose label and group it shares."""
        objects: dict[str, dict[Any, list[Mask]]] = {}
        for rank, (label, group, mask) in enumerate(drawn):
            if label != IGNORE:
                key = ("shape", rank) if group is None else ("group", group)
                objects.setdefault(self.names[label], {}).setdefault(key, []).append(mask)
        return tuple(
            Region.of_objects(name, [UnionMask(tuple(parts), shape=parts[0].size) for parts in shapes.values()])
            for name, shapes in objects.items()
        )


Drawn = tuple[str, int | None, RLEMask]
"""Label, group and mask of a shape."""


def _masks(
    shapes: Sequence[Mapping[str, Any]], size: tuple[int, int], path: Path
) -> tuple[list[Drawn], tuple[Skipped, ...], list[str]]:
    """Return the masks with their labels and groups, what was left out, and the labels of what was left out."""
    masks, left_out, lost = [], [], []
    for shape in shapes:
        if shape_kind(shape) not in POINTS:
            left_out.append(Skipped(f"{shape_kind(shape)}, which has no inside", str(path)))
            lost.append(shape["label"])
            continue
        try:
            pixels = draw_shape(shape, size)
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
        if pixels.any():
            group = shape.get("group_id")
            masks.append((shape["label"], group if isinstance(group, int) else None, RLEMask.from_array(pixels)))
            points = [float(side) for point in shape["points"] for side in point]
            left_out += [Skipped(BEYOND, str(path))] * reaches_beyond([points], size)
        else:
            left_out.append(Skipped("shape without a pixel", str(path)))
            lost.append(shape["label"])
    return masks, tuple(left_out), lost


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = parse_json(path.read_bytes())
        if not all(isinstance(shape["label"], str) and shape["points"] is not None for shape in content["shapes"]):
            raise ValueError("a label that is not a text")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not a LabelMe file ({error!r}); remove it or export it again") from error


def _item(path: Path, labels: set[str], source: Path) -> LabelMeItem:
    """Return where a file's image is, and add its labels to ``labels``."""
    content = _read(path)
    labels.update(shape["label"] for shape in content["shapes"])
    # the path may have been written on Windows, with backslashes
    name = PureWindowsPath(str(content.get("imagePath") or "")).as_posix()
    name = name if name != "." else "imagePath"
    # paths are relative to the JSON file, and images and JSON files are often in sibling folders
    within = normpath(Path("source") / path.parent.relative_to(source) / name)
    if PureWindowsPath(name).anchor or leads_out(within):
        if content.get("imageData"):
            return LabelMeItem(path.stem, path, None)
        raise LayoutError(
            f"{path}: imagePath: {name!r} leads out of {source} and the folders beside it; put the images there"
        )
    image = path.parent / name
    return LabelMeItem(path.stem, path, image if image.is_file() or not content.get("imageData") else None)


def _stored_image(path: Path, content: Mapping[str, Any]) -> tuple[bytes, tuple[int, int]]:
    """Return the image stored in a LabelMe file, upright, and its height and width."""
    try:
        data = b64decode(content["imageData"])
    except (TypeError, ValueError) as error:
        raise RecordError(f"{path}: its imageData cannot be decoded ({error})") from error
    return upright(data, checked_size(data, str(path)))
