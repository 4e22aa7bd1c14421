"""ADE20K in full: every annotated object of indoor and outdoor scenes, with any of some 3,000 names.

Source: Zhou et al. (CVPR 2017, IJCV 2019), release ``ADE20K_2021_17_01``; ``CSAILVision/ADE20K``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lasagna.core.json_text import parse_json
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.entries import check_inner
from lasagna.datamodules.converters.common.files import LayoutError, first_folder, read_image_file, read_label_file
from lasagna.datamodules.converters.common.names import spoken_labels
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

PARTS = {"train": "training", "val": "validation"}
VISIBLE = 255
"""Value of an object's visible pixels in its mask file; those that something else hides have 128."""

UNNAMED = "-"
EXPECTED = """
  images/ADE/{training,validation}/<kind>/<scene>/ADE_*.jpg with ADE_*.json
  and the mask files that these name, <scene>/ADE_*/instance_*.png"""


class ADE20KFull(Converter):
    """ADE20K with a mask for each object; the first synonym of a name is the category, the others are aliases.

    Names that begin with the same synonym are one category. Only visible pixels of an object belong to its mask. Pixels
    of no object, and of objects without a name, are ignored. Parts of objects are not read.

    Args:
        source: The folder ``ADE20K_2021_17_01``, or the one that holds it.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose folders exist; all annotation files are read for their names.

        Raises:
            LayoutError: If the folder does not have the expected layout.
            RecordError: If an annotation file is broken.
        """
        places = [self.source, self.source / "ADE20K_2021_17_01"]
        root = first_folder([place / "images" / "ADE" for place in places], EXPECTED)
        found = {split: sorted((root / part).rglob("ADE_*.json")) for split, part in PARTS.items()}
        if not any(found.values()):
            raise LayoutError(f"source: {root} holds no annotation files of ADE20K; expected{EXPECTED}")
        items = {split: [_item(path) for path in paths] for split, paths in found.items() if paths}
        released = dict.fromkeys(name for part in items.values() for item in part for name, _ in item.objects)
        names = dict(zip(released, map(_first, released), strict=True))
        said = spoken_labels(sorted(set(names.values())))
        read = ReadObjectFiles(_manifest(names, said), {name: said[first] for name, first in names.items()})
        return {split: Split(read.manifest, part, read, _files(part)) for split, part in items.items()}


@dataclass(frozen=True)
class ObjectsItem:
    """One image.

    Args:
        key: The stem of its file.
        image: The image file.
        annotation: Its JSON file.
        objects: Name, as released, and mask file of each object.
    """

    key: str
    image: Path
    annotation: Path
    objects: tuple[tuple[str, Path], ...]


@dataclass(frozen=True)
class ReadObjectFiles:
    """Reads an image with the mask files of its objects.

    Args:
        manifest: What holds for all records.
        names: The category of each released name.
    """

    manifest: Manifest
    names: Mapping[str, str]

    def __call__(self, item: ObjectsItem) -> ReadResult:
        """Read one image.

        Raises:
            RecordError: If a file is broken, or a mask has another size than the image.
        """
        data, size = read_image_file(item.image)
        masks: dict[str, list[Mask]] = {}
        covered, left, unclear = np.zeros(size, dtype=bool), [], dict[str, None]()
        for released, path in item.objects:
            pixels = read_label_file(path)
            if pixels.shape != size:
                raise RecordError(f"{path}: the mask has size {pixels.shape}, the image {size}; both must agree")
            visible, name = pixels == VISIBLE, self.names[released]
            covered |= visible
            if visible.any():
                masks.setdefault(name, []).append(RLEMask.from_array(visible))
            else:
                left.append(Skipped("object without a visible pixel", path.name))
                unclear[name] = None
        regions = tuple(Region.of_objects(name, parts) for name, parts in masks.items())
        ignore = None if covered.all() else RLEMask.from_array(~covered)
        record = Record(item.key, data, size, self.manifest, regions, ignore=ignore, unclear=tuple(unclear))
        return ReadResult(record, tuple(left))


def _item(path: Path) -> ObjectsItem:
    data = path.read_bytes()
    try:
        try:
            content = parse_json(data.decode("utf-8"))
        except UnicodeDecodeError:
            content = parse_json(data.decode("latin-1"))
        whole = [part for part in content["annotation"]["object"] if part["parts"]["part_level"] == 0]
        named = [(str(part["name"]).strip(), str(part["instance_mask"])) for part in whole]
        files = [(name, path.parent / check_inner(file, str(path))) for name, file in named if _first(name)]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not an annotation file of ADE20K ({error!r}); unpack it again") from error
    return ObjectsItem(path.stem, path.with_suffix(".jpg"), path, tuple(files))


def _first(name: str) -> str:
    """Return the first synonym of a name; empty if the object has no name."""
    first = name.split(",")[0].strip()
    return "" if first == UNNAMED else first


def _files(items: Sequence[ObjectsItem]) -> list[Path]:
    return [file for item in items for file in (item.image, *(mask for _, mask in item.objects))]


def _manifest(names: Mapping[str, str], said: Mapping[str, str]) -> Manifest:
    aliases: dict[str, dict[str, None]] = {}
    for released, first in names.items():
        synonyms = (part.strip() for part in released.split(","))
        aliases.setdefault(said[first], {}).update(dict.fromkeys(part for part in synonyms if part))
    return Manifest(
        name="ade20k-full",
        categories=tuple(dict.fromkeys(said.values())),
        origin="ADE20K, full data set of 2021 (ADE20K_2021_17_01), MIT CSAIL",
        licence="images for non-commercial research and education; annotations BSD-3-Clause",
        aliases={name: others for name, all_ in aliases.items() if (others := _others(name, all_))},
    )


def _others(name: str, synonyms: Iterable[str]) -> tuple[str, ...]:
    return tuple(other for other in synonyms if other != name)
