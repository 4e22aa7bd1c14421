"""Phrases about annotated objects, grouped by image: what data sets of referring expressions have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Phrase, Record
from lasagna.datamodules.converters.common.base import Split
from lasagna.datamodules.converters.common.coco import CocoFile, lost_parts, read_mask, stated_size
from lasagna.datamodules.converters.common.coco_regions import Place
from lasagna.datamodules.converters.common.files import LayoutError, read_annotated_image_file, shorten
from lasagna.datamodules.shards.tally import ReadResult, Skipped


@dataclass(frozen=True)
class Expression:
    """A phrase about an image.

    Args:
        split: Its split.
        image: Id of the image.
        text: The phrase.
        targets: Ids of the annotations that it refers to; empty if it refers to nothing.
        lost: Whether no mask of what it refers to can be used, so that it is left out and counted.
        group: What it is about, for scores that take the phrases about one thing together.
        annotators: Ids of the annotations of each further annotator.
    """

    split: str
    image: int | str
    text: str
    targets: tuple[int | str, ...]
    lost: bool = False
    group: str = ""
    annotators: tuple[tuple[int | str, ...], ...] = ()


@dataclass(frozen=True)
class PhraseItem:
    """The phrases of a split about one image.

    Args:
        key: Name of the record, which is that of the image file.
        image: The image file.
        phrases: The phrases.
        segmentations: The encoded mask of each target by its id.
        stated: Height and width of the image as the annotation file states them, if it does.
    """

    key: str
    image: Path
    phrases: tuple[Expression, ...]
    segmentations: Mapping[int | str, Any]
    stated: tuple[int, int] | None = None


def phrase_splits(
    manifest: Manifest, content: CocoFile, place: Place, expressions: Iterable[Expression], references: Path
) -> dict[str, Split]:
    """Group phrases by split and image, in the order in which the images first occur.

    Args:
        manifest: What holds for all records.
        content: The file with images and annotated objects.
        place: Where images are.
        expressions: The phrases.
        references: The file that holds the phrases.

    Raises:
        LayoutError: If a phrase is about an image or an object that does not exist, two objects have the same id, or
            there are no phrases.
    """
    objects = _objects_by_id(content)
    gathered: dict[str, dict[int | str, list[Expression]]] = defaultdict(lambda: defaultdict(list))
    for one in expressions:
        gathered[one.split][one.image].append(one)
    if not gathered:
        raise LayoutError(f"{content.path.parent}: there are no phrases")
    _check(gathered, content, objects)
    splits = {}
    for split, by_image in gathered.items():
        items = [_item(content, number, part, place, objects) for number, part in by_image.items()]
        read, files = ReadPhrases(manifest, content.path.name), [item.image for item in items]
        splits[split] = Split(manifest, items, read, files, annotations=(content.path, references))
    return splits


def _objects_by_id(content: CocoFile) -> dict[int | str, Mapping[str, Any]]:
    listed = [one for annotations in content.annotations.values() for one in annotations]
    objects = {one["id"]: one for one in listed}
    if doubled := [str(one["id"]) for one in listed if objects[one["id"]] != one]:
        raise LayoutError(
            f"{content.path}: {len(doubled)} annotations share their id with another one ({shorten(doubled)}), so that "
            "phrases may be about either; unpack it again"
        )
    return objects


def _check(
    gathered: Mapping[str, Mapping[int | str, list[Expression]]], content: CocoFile, objects: Mapping[int | str, Any]
) -> None:
    expressions = [one for by_image in gathered.values() for part in by_image.values() for one in part]
    for what, lost in (
        ("images", {one.image for one in expressions} - set(content.images)),
        ("annotations", {target for one in expressions for target in one.targets} - set(objects)),
    ):
        if lost:
            shown = shorten(list(map(str, sorted(lost, key=str))))
            raise LayoutError(
                f"{content.path}: phrases are about {len(lost)} {what} that are not in it ({shown}); take both files "
                "from the same release"
            )


def _item(
    content: CocoFile,
    number: int | str,
    expressions: list[Expression],
    place: Place,
    objects: Mapping[int | str, Mapping[str, Any]],
) -> PhraseItem:
    image = content.images[number]
    targets = dict.fromkeys(target for one in expressions for target in one.targets)
    segmentations = {target: objects[target].get("segmentation") for target in targets}
    key = key_of(image["file_name"])
    return PhraseItem(key, place(image), tuple(expressions), segmentations, stated_size(image))


def key_of(name: str) -> str:
    """Return the key of a record whose image has a name, which may have folders."""
    return Path(name).with_suffix("").as_posix().replace("/", "-")


@dataclass(frozen=True)
class ReadPhrases:
    """Reads an image with its phrases.

    Args:
        manifest: What holds for all records.
        file: Name of the file of annotated objects, for messages.
    """

    manifest: Manifest
    file: str

    def __call__(self, item: PhraseItem) -> ReadResult:
        """Read the image and draw the targets; a phrase with a target that has no mask is left out.

        Raises:
            RecordError: If the image is broken or has another size than stated, or a mask has another size.
        """
        data, size = read_annotated_image_file(item.image, item.stated)
        masks = {
            number: read_mask(coding, size, f"{self.file}: annotation {number} of {item.key}")
            for number, coding in item.segmentations.items()
        }
        phrases, left = [], [mask for mask in masks.values() if isinstance(mask, Skipped)]
        for number, mask in masks.items():
            coding = item.segmentations[number] if isinstance(mask, Mask) else None
            left += lost_parts(coding, size, f"{self.file}: annotation {number} of {item.key}")
        for one in item.phrases:
            text, parts = one.text.strip(), (one.targets, *one.annotators)
            drawn = [tuple(mask for number in part if isinstance(mask := masks[number], Mask)) for part in parts]
            if text and not one.lost and list(map(len, drawn)) == list(map(len, parts)):
                phrases.append(Phrase(text, drawn[0], group=one.group, annotators=tuple(drawn[1:])))
                continue
            without = "phrase of several things, one of which has no mask" if any(drawn) else "phrase without a mask"
            reason = without if text else "phrase without words"
            left.append(Skipped(reason, f"{one.text!r} of {item.key}"))
        record = Record(item.key, data, size, self.manifest, phrases=tuple(phrases)) if phrases else None
        return ReadResult(record, tuple(left))
