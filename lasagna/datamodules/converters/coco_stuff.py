"""COCO-Stuff 164k: 80 things and 91 kinds of stuff, a class for nearly every pixel.

Source: Caesar, Uijlings, Ferrari (CVPR 2018); ``nightrome/cocostuff``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import LayoutError, first_folder, read_file
from lasagna.datamodules.converters.common.label_maps import files_by_key, labelled_split, pair_up, without_labels
from lasagna.datamodules.converters.common.names import packaged_names, spoken_names

UNLABELLED = 255
LABEL_FOLDERS = ("stuffthingmaps_trainval2017", "stuffthingmaps", "cocostuff", "annotations", ".")
EXPECTED = """
  stuffthingmaps_trainval2017/{train,val}2017/<image id>.png (or in cocostuff, or directly in the folder)
  {train,val}2017/<image id>.jpg, or in the folder of `--images`"""


class CocoStuff(Converter):
    """COCO-Stuff; label files stay as they are: the category id minus one, and 255 for unlabelled pixels.

    Eleven ids of things (12, 26, 29, 30, 45, 66, 68, 69, 71, 83 and 91) have no pixels in any release. They are not
    categories here, so that "door" means the door that is annotated as stuff. Names are as people say them
    ("wall-brick" is "brick wall"); the release's names are aliases.

    Args:
        source: The folder that holds the folder of label files.
        images: The folder that holds ``train2017`` and ``val2017``, if that is another folder.
        original_names: Whether classes have the names that LaSagnA's code asks for, which its weights learned: those of
            the release without "-other" and "-stuff", such as "wall-brick". 13 differ from the spoken names.
    """

    def __init__(self, source: Path, images: Path | None = None, original_names: bool = False) -> None:
        self.source = source
        self.images = images
        self.original_names = original_names

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose label files exist; images without a label file are left out and noted.

        Raises:
            LayoutError: If there are no label files; later, if a split has no images.
        """
        manifest = coco_stuff_manifest(self.original_names)
        parts = {}
        for name in ("train", "val"):
            folders = [self.source / folder / f"{name}2017" for folder in LABEL_FOLDERS]
            found = [folder for folder in folders if any(folder.glob("*.png"))]
            if found:
                parts[name] = partial(self._split, manifest, f"{name}2017", found[0])
        if not parts:
            raise LayoutError(f"source: {self.source} holds no label files of COCO-Stuff; expected{EXPECTED}")
        return LazySplits(parts)

    def _split(self, manifest: Manifest, part: str, folder: Path) -> Split:
        root = self.images or self.source
        images = first_folder([root / part, root / "images" / part], EXPECTED)
        labels, there = files_by_key(folder, (".png",)), files_by_key(images, (".jpg",))
        pairs = pair_up({key: path for key, path in there.items() if key in labels}, labels, str(images))
        notes = without_labels([key for key in there if key not in labels])
        return labelled_split(manifest, pairs, read_file, notes)


def coco_stuff_manifest(original_names: bool = False) -> Manifest:
    """Return the manifest of the 171 classes that have pixels.

    Args:
        original_names: Whether classes have the names that LaSagnA's code asks for.
    """
    released = {number: first for number, (first, *_) in packaged_names("coco_stuff").items()}
    names, aliases = spoken_names(released)
    if original_names:
        # LaSagnA's utils/sem_seg_dataset.py, which removes "-merged" too; no name of the 171 has it
        asked = {number: name.replace("-other", "").replace("-stuff", "") for number, name in released.items()}
        others = {number: (names[number], released[number]) for number in released}
        aliases = {name: tuple(dict.fromkeys({*others[number]} - {name})) for number, name in asked.items()}
        names, aliases = asked, {name: known for name, known in aliases.items() if known}
    return Manifest(
        name="coco-stuff-171",
        categories=tuple(names.values()),
        labels={number - 1: name for number, name in names.items()},
        void=(UNLABELLED,),
        origin="COCO-Stuff 164k, pixel maps of things and stuff (nightrome/cocostuff)",
        licence="annotations CC BY 4.0; images under the terms of Flickr",
        aliases=aliases,
    )
