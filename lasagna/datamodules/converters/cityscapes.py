"""Cityscapes: street scenes of German cities, 19 classes.

Source: Cordts et al. (CVPR 2016); ``mcordts/cityscapesScripts``, ``helpers/labels.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from lasagna.core.record import Manifest, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import LayoutError, png_of, read_file
from lasagna.datamodules.converters.common.label_maps import labelled_split, pair_up, with_objects
from lasagna.datamodules.converters.common.names import named_manifest, packaged_names
from lasagna.datamodules.converters.common.object_maps import Runs, object_regions, read_numbers

IMAGE, LABEL, INSTANCE = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_instanceIds.png"
MOST_THINGS = 1000
"""Numbers of things are their label id times this, and a number from 0."""

THINGS = (24, 25, 26, 27, 28, 31, 32, 33)
"""Label ids of the classes that are scored and whose things are told apart."""

IDS = range(34)
"""All label ids; licence plates (-1) are not drawn."""

EXPECTED = f"""
  leftImg8bit/{{train,val}}/<city>/<city>_<sequence>_<frame>{IMAGE}
  gtFine/{{train,val}}/<city>/<city>_<sequence>_<frame>{LABEL}"""


class Cityscapes(Converter):
    """Cityscapes' fine annotations; label values are its label ids, and ids that are not scored are ignored.

    Only files of the release are read: the label ids, or the instance ids, which contain them, if the label ids are not
    unpacked. Things are told apart where the instance ids are there; groups of them are crowds. The labels of the test
    split are dummies, so it is not converted.

    Args:
        source: The folder that holds ``leftImg8bit`` and ``gtFine``.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return train and val, if they exist.

        Raises:
            LayoutError: If the folder does not have the expected layout; later, if a split has images but no label
                files.
        """
        parts = {name: files for name in ("train", "val") if any(files := self._files(name))}
        if not parts:
            raise LayoutError(f"source: {self.source} holds no annotated images of Cityscapes; expected{EXPECTED}")
        manifest = cityscapes_manifest()
        return LazySplits({name: partial(self._split, manifest, name, *files) for name, files in parts.items()})

    def _split(self, manifest: Manifest, name: str, images: dict[str, Path], labels: dict[str, Path]) -> Split:
        pairs = pair_up(images, labels, str(self._folder("leftImg8bit") / name))
        objects = dict(_frames(self._folder("gtFine") / name, INSTANCE))
        return labelled_split(manifest, with_objects(pairs, objects), encode_label_ids, read_objects=read_things)

    def _files(self, split: str) -> tuple[dict[str, Path], dict[str, Path]]:
        """Return the images and the label files of a split."""
        pictures, annotations = (self._folder(name) / split for name in ("leftImg8bit", "gtFine"))
        images = dict(_frames(pictures, IMAGE))
        return images, dict(_frames(annotations, INSTANCE)) | dict(_frames(annotations, LABEL))

    def _folder(self, name: str) -> Path:
        """Return one of the two folders; an archive unpacked on its own is in a folder with the archive's name."""
        packaged = self.source / f"{name}_trainvaltest" / name
        return packaged if packaged.is_dir() else self.source / name


def encode_label_ids(path: Path) -> bytes:
    """Return a map of label ids: the file as it is, or the ids computed from a file of instances.

    Instances are numbered ``label id * 1000 + n``; classes without instances keep their label id.

    Raises:
        RecordError: If the file cannot be decoded, or has more than one channel.
    """
    if not path.name.endswith(INSTANCE):
        return read_file(path)
    values = read_numbers(path)
    return png_of(np.where(values < MOST_THINGS, values, values // MOST_THINGS).astype(np.uint8))


def read_things(label: Path, path: Path) -> tuple[Region, ...]:
    """Return the things in a file of instances; those of a group have only their label id.

    Args:
        label: The label file, whose ids the numbers contain.
        path: The file of instances.

    Raises:
        RecordError: If the file cannot be decoded, or has more than one channel.
    """
    runs, names = Runs.of(read_numbers(path)), cityscapes_manifest().labels
    found = list(runs.areas())
    things = {number: names[number // MOST_THINGS] for number in found if number // MOST_THINGS in THINGS}
    return object_regions(runs, things, {number: names[number] for number in found if number in THINGS})


def cityscapes_manifest() -> Manifest:
    """Return the manifest of the 19 classes."""
    names = packaged_names("cityscapes")
    return named_manifest(
        "cityscapes-19",
        names,
        origin="Cityscapes, fine annotations (gtFine)",
        licence="non-commercial; terms of cityscapes-dataset.com",
        void=tuple(value for value in IDS if value not in names),
    )


def _frames(folder: Path, ending: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.glob(f"*/*{ending}")):
        yield path.name.removesuffix(ending), path
