"""Cityscapes: street scenes of German cities, 19 classes.

Source: Cordts et al. (CVPR 2016); ``mcordts/cityscapesScripts``, ``helpers/labels.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import LayoutError, png_of, read_file, read_label_file
from lasagna.datamodules.converters.common.label_maps import labelled_split, pair_up
from lasagna.datamodules.converters.common.names import named_manifest, packaged_names
from lasagna.errors import RecordError

IMAGE, LABEL, INSTANCE = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_instanceIds.png"
IDS = range(34)
"""All label ids; licence plates (-1) are not drawn."""

EXPECTED = f"""
  leftImg8bit/{{train,val}}/<city>/<city>_<sequence>_<frame>{IMAGE}
  gtFine/{{train,val}}/<city>/<city>_<sequence>_<frame>{LABEL}"""


class Cityscapes(Converter):
    """Cityscapes' fine annotations; label values are its label ids, and ids that are not scored are ignored.

    Only files of the release are read: the label ids, or the instance ids, which contain them, if the label ids are not
    unpacked. The labels of the test split are dummies, so it is not converted.

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
        return labelled_split(manifest, pairs, encode_label_ids)

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
    values = read_label_file(path).astype(np.int64)
    if values.ndim != 2:
        raise RecordError(f"{path}: files of instances have one channel, but this one has shape {values.shape}")
    return png_of(np.where(values < 1000, values, values // 1000).astype(np.uint8))


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
