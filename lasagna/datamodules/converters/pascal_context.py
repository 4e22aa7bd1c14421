"""PASCAL-Context: a class for nearly every pixel of PASCAL VOC 2010, one of 459 or of the 59 frequent ones.

Source: Mottaghi et al. (CVPR 2014); the release's ``trainval/*.mat`` and ``labels.txt``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.files import LayoutError, first_folder, png_of, shorten, text_lines
from lasagna.datamodules.converters.common.label_maps import files_by_key, labelled_split, listed_pairs, without_labels
from lasagna.datamodules.converters.common.names import Names, named_manifest, packaged_names
from lasagna.errors import ConfigError, RecordError

NONE = 0
"""Label value of pixels without a class; ignored, as in PC-59 and PC-459."""

NAMELESS = "unknown"
"""A class of the release that has no meaning; ignored."""

EXPECTED = """
  trainval/<image>.mat
  VOCdevkit/VOC2010/JPEGImages/<image>.jpg (or VOC2010/JPEGImages, JPEGImages, or `--images`)
  VOCdevkit/VOC2010/ImageSets/Main/{train,val}.txt (optional; without them, all is one split)"""


class PascalContext(Converter):
    """PASCAL-Context from its Matlab files, which need the extra ``matlab``.

    The classes are mapped by name; three of the 59 have another name in the list of 459 ("dining table" is "table"
    there). Pixels outside of the chosen classes are ignored.

    Args:
        source: The folder that holds ``trainval``.
        classes: 59 or 459.
        images: The folder of the images, if it is not in its usual place.
    """

    def __init__(self, source: Path, classes: Literal[59, 459] = 59, images: Path | None = None) -> None:
        if classes not in (59, 459):
            raise ConfigError(f"classes: {classes} is neither 59 nor 459")
        self.source = source
        self.classes = classes
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return train and val as listed by VOC 2010, or all as "trainval" if there are no lists.

        Raises:
            LayoutError: If the folder does not have the expected layout.
            ConfigError: If Matlab files cannot be read because the extra is not installed.
        """
        _matlab_reader()
        labels = files_by_key(first_folder([self.source / "trainval"], EXPECTED), (".mat",))
        inner = ("VOCdevkit/VOC2010", "VOC2010", ".")
        usual = [root / part / "JPEGImages" for root in (self.source, self.source.parent) for part in inner]
        folder = first_folder([self.images] if self.images else usual, EXPECTED)
        images = files_by_key(folder, (".jpg",))
        manifest, values = context_classes(self.classes, _names(self.source / "labels.txt"))
        reader = ContextLabels(values)
        return {
            split: labelled_split(
                manifest,
                listed_pairs(images, labels, [key for key in keys if key in labels], str(folder)),
                reader,
                without_labels([key for key in keys if key not in labels]),
            )
            for split, keys in _lists(folder.parent / "ImageSets" / "Main", labels).items()
        }


@dataclass(frozen=True)
class ContextLabels:
    """Reads a Matlab file with a label map.

    Args:
        values: Label value in the release to label value in the record; all others are ignored.
    """

    values: Mapping[int, int]

    def __call__(self, path: Path) -> bytes:
        """Return the label map as PNG.

        Raises:
            RecordError: If the file is broken or has no label map.
        """
        try:
            labels: NDArray[np.int64] = np.asarray(_matlab_reader()(path)["LabelMap"]).astype(np.int64)
        except Exception as error:  # scipy raises errors of many types for broken files
            raise RecordError(f"{path}: the label map cannot be read ({error!r}); unpack it again") from error
        table = np.full(max(int(labels.max(initial=0)), *self.values) + 1, NONE, dtype=np.uint16)
        table[list(self.values)] = list(self.values.values())
        mapped = table[labels.clip(min=0)]
        return png_of(mapped if mapped.max(initial=0) > 255 else mapped.astype(np.uint8))


def context_classes(classes: int, released: Names) -> tuple[Manifest, dict[int, int]]:
    """Return the manifest of 59 or 459 classes, and its label value for each label value of the release.

    Args:
        classes: 59 or 459.
        released: Names in the release by label value.

    Raises:
        LayoutError: If the release lacks one of the 59 classes.
    """
    if classes == 459:
        names = {value: words for value, words in released.items() if NAMELESS not in words}
        values = {value: value for value in names}
    else:
        names = packaged_names("pascal_context_59")
        known = {word: value for value, words in released.items() for word in words}
        places = {number: [known[word] for word in words if word in known] for number, words in names.items()}
        if lost := [names[number][0] for number, found in places.items() if not found]:
            raise LayoutError(f"labels.txt: the classes {shorten(lost)} are missing; unpack it again")
        values = {found[0]: number for number, found in places.items()}
    manifest = named_manifest(
        f"pascal-context-{classes}",
        names,
        origin=f"PASCAL-Context, {classes} classes, on PASCAL VOC 2010",
        licence="research; images under the terms of Flickr",
        void=(NONE,),
    )
    return manifest, values


def _names(path: Path) -> Names:
    """Read the release's "labels.txt" ("12: bamboo weaving"), or this package's copy if that is missing."""
    names = packaged_names("pascal_context_459")
    if not path.is_file():
        return names
    rows = (line.partition(":") for line in text_lines(path) if ":" in line)
    listed = {int(number): name.strip() for number, _, name in rows if number.strip().isdigit()}
    spelled = {word: words for words in names.values() for word in words}
    return {value: spelled.get(name, (name,)) for value, name in listed.items() if value != NONE}


def _lists(folder: Path, labels: Mapping[str, Path]) -> dict[str, list[str]]:
    """Return the lists that name an image with a label file, or all such images if there are none."""
    lists = {}
    for split in ("train", "val"):
        path = folder / f"{split}.txt"
        lines = text_lines(path) if path.is_file() else []
        lists[split] = list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))
    known = {split: keys for split, keys in lists.items() if not labels.keys().isdisjoint(keys)}
    return known or {"trainval": list(labels)}


def _matlab_reader() -> Callable[[Path], dict[str, Any]]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ConfigError(
            "pascal_context: its label files are Matlab files, which need scipy; `pip install -e .[matlab]`"
        ) from error
    return loadmat  # type: ignore[no-any-return]
