"""Where a user's label images are: beside their images in one of the usual trees, paired by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lasagna.datamodules.converters.common.files import LayoutError, shorten, text_lines
from lasagna.datamodules.converters.common.label_maps import Pair, files_by_key, listed_pairs, pair_up, with_objects

SPLITS = ("train", "training", "val", "valid", "validation", "test")
IMAGES = ("JPEGImages", "images", "image", "imgs", "img")
LABELS = ("SegmentationClass", "SegmentationClassPNG", "labels", "label", "masks", "mask", "annotations")
OBJECTS = ("SegmentationObject", "SegmentationObjectPNG")
LISTS = Path("ImageSets/Segmentation")
BESIDE = "_mask"
"""Ending of label images in the folder of their images, as Roboflow exports them."""

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
LOSSLESS = (".png", ".bmp", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg")
EXPECTED = """one of
  JPEGImages/, SegmentationClass/, perhaps SegmentationObject/ and ImageSets/Segmentation/{train,val}.txt
  images/ and labels/ (or masks/), perhaps each with train/, val/ and test/
  {train,val,test}/ with images/ and labels/, or with <image>.jpg and <image>_mask.png
  any two folders, by `--images` and `--labels`"""


@dataclass(frozen=True)
class Part:
    """Where the files of a split are.

    Args:
        images: The folder of the images.
        labels: The folder of the label images.
        objects: The folder of images that tell objects apart, or None.
        listed: The file that lists the images of the split, or None for all.
    """

    images: Path
    labels: Path
    objects: Path | None = None
    listed: Path | None = None


def find_parts(source: Path, images: Path | None, labels: Path | None) -> dict[str, Part]:
    """Return the splits of a folder of images with label images.

    Args:
        source: The folder.
        images: The folder of the images, if it has no usual name.
        labels: The folder of the label images, if it has no usual name.

    Raises:
        LayoutError: If there are no label images or no images in a usual place.
    """
    pictures, masks = images or _first(source, IMAGES), labels or _first(source, LABELS)
    if pictures and masks:
        return _parts(source, pictures, masks)
    if masks or images or labels:
        there, lost = ("label images", "`--images`") if masks else ("images", "`--labels`")
        raise LayoutError(
            f"source: {source} has {there} in {masks or pictures}, and the other folder has no usual name or is not "
            f"exported; give it by {lost}; expected {EXPECTED}"
        )
    parts = {}
    for folder in (source / split for split in SPLITS):
        inner, within = _first(folder, IMAGES), _first(folder, LABELS)
        if inner and within:
            parts[folder.name] = Part(inner, within, _first(folder, OBJECTS))
        elif any(folder.glob(f"*{BESIDE}.*")):
            parts[folder.name] = Part(folder, folder)
    if not parts:
        raise LayoutError(f"source: there are no label images in {source}; expected {EXPECTED}")
    return parts


def _parts(source: Path, images: Path, labels: Path) -> dict[str, Part]:
    """Return the splits of two folders: their subfolders, or those that lists name, else all as "train"."""
    objects = _first(source, OBJECTS)
    if inner := [split for split in SPLITS if (images / split).is_dir() and (labels / split).is_dir()]:
        return {split: Part(images / split, labels / split, objects and objects / split) for split in inner}
    lists = {path.stem: path for path in sorted((source / LISTS).glob("*.txt"))}
    if "trainval" in lists and "train" in lists:
        del lists["trainval"]
    # CVAT calls the only list of a task "default"
    lists = {"train": lists["default"]} if [*lists] == ["default"] else lists
    return {name: Part(images, labels, objects, path) for name, path in lists.items()} or {
        "train": Part(images, labels, objects)
    }


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def find_pairs(part: Part, ending: str = "") -> list[Pair]:
    """Return the images of a split with their label images, which have the same stem, and lie in the same subfolder.

    Args:
        part: Where they are.
        ending: What the stems of label images have besides, e.g. "_mask".

    Raises:
        LayoutError: If the label images are JPEG, or no label image has the stem of an image.
    """
    beside = part.images == part.labels
    ending = ending or (BESIDE if beside else "")
    if lossy := [*files_by_key(part.labels, LOSSY, ending, deep=True)] if ending or not beside else []:
        raise LayoutError(
            f"{part.labels}: {len(lossy)} label images are stored as JPEG ({shorten(lossy)}), which changes their "
            "pixels; export them as PNG"
        )
    labels = files_by_key(part.labels, LOSSLESS, ending, deep=True)
    images = files_by_key(part.images, PICTURES, deep=True)
    if beside:
        images = {key: path for key, path in images.items() if not key.endswith(ending)}
    if images and labels and images.keys().isdisjoint(labels):
        one, other = next(iter(images.values())), next(iter(labels.values()))
        raise LayoutError(
            f"{part.labels}: no label image has the stem of an image (e.g. {other.name} and {one.name}); say what the "
            f"stems of label images have besides, e.g. by `--ending _mask`"
        )
    if part.listed is None:
        pairs = pair_up(images, labels, str(part.images))
    else:
        keys = [key if key in images or key in labels else key.rpartition("/")[2] for key in _listed(part.listed)]
        pairs = listed_pairs(images, labels, list(dict.fromkeys(keys)), str(part.listed))
    objects = files_by_key(part.objects, LOSSLESS, deep=True) if part.objects and part.objects.is_dir() else {}
    return with_objects(pairs, objects)


def _listed(path: Path) -> list[str]:
    """Return the names of images in a list, with their folders and without the suffixes of pictures."""
    names = [PurePosixPath(line.strip().replace("\\", "/")) for line in text_lines(path) if line.strip()]
    return [str(name.with_suffix("") if name.suffix.lower() in PICTURES else name) for name in names]
