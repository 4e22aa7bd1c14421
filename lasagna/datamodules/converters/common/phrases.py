"""Phrases about annotated things, gathered by image: what referring data sets have in common."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Phrase, Record
from lasagna.datamodules.converters.common.base import Split
from lasagna.datamodules.converters.common.coco import CocoFile, lost_parts, read_mask, stated_size
from lasagna.datamodules.converters.common.files import LayoutError, shorten
from lasagna.datamodules.converters.common.upright import read_annotated_image_file
from lasagna.datamodules.shards.tally import ReadResult, Skipped


@dataclass(frozen=True)
class Expression:
    """A phrase about an image.

    Args:
        split: Its split.
        image: Id of the image.
        text: The phrase.
        targets: Ids of the annotations that it fits; none if it fits nothing.
        lost: Whether it fits something of which no mask can be used, so that it is left out and counted.
    """

    split: str
    image: int
    text: str
    targets: tuple[int, ...]
    lost: bool = False


@dataclass(frozen=True)
class PhraseItem:
    """The phrases of a split about one image.

    Args:
        key: Name of the record, the image file's.
        image: The image file.
        phrases: Each phrase with the ids of its targets, and whether it is lost.
        segmentations: Coding of each target's mask by its id.
        said: Height and width of the image as the annotation file says them, if it does.
    """

    key: str
    image: Path
    phrases: tuple[tuple[str, tuple[int, ...], bool], ...]
    segmentations: Mapping[int, Any]
    said: tuple[int, int] | None = None


def phrase_splits(
    manifest: Manifest, content: CocoFile, images: Path, expressions: Iterable[Expression], references: Path
) -> dict[str, Split]:
    """Gather phrases by split and image, in the order in which images are first spoken of.

    Args:
        manifest: What holds for all records.
        content: The file with images and annotated things.
        images: Folder of the images.
        expressions: The phrases.
        references: The file that they are in.

    Raises:
        LayoutError: If a phrase is about an image or a thing that is not there, two things have the same id, or there
            are no phrases.
    """
    things = _things(content)
    gathered: dict[str, dict[int, list[Expression]]] = defaultdict(lambda: defaultdict(list))
    for one in expressions:
        gathered[one.split][one.image].append(one)
    if not gathered:
        raise LayoutError(f"{content.path.parent}: there are no phrases")
    _check(gathered, content, things)
    splits = {}
    for split, by_image in gathered.items():
        items = [_item(content, number, said, images, things) for number, said in by_image.items()]
        read, files = ReadPhrases(manifest, content.path.name), [item.image for item in items]
        splits[split] = Split(manifest, items, read, files, annotations=(content.path, references))
    return splits


@dataclass(frozen=True)
class ReadPhrases:
    """Reads an image with its phrases.

    Args:
        manifest: What holds for the records.
        file: Name of the file of annotated things, for messages.
    """

    manifest: Manifest
    file: str

    def __call__(self, item: PhraseItem) -> ReadResult:
        """Read the image and draw the targets; a phrase one of whose targets has no mask is left out.

        Raises:
            RecordError: If the image is broken or of another size than is said, or a mask is not of its size.
        """
        data, size = read_annotated_image_file(item.image, item.said)
        masks = {
            number: read_mask(coding, size, f"{self.file}: annotation {number} of {item.key}")
            for number, coding in item.segmentations.items()
        }
        phrases, left = [], [mask for mask in masks.values() if isinstance(mask, Skipped)]
        for number, mask in masks.items():
            coding = item.segmentations[number] if isinstance(mask, Mask) else None
            left += lost_parts(coding, size, f"{self.file}: annotation {number} of {item.key}")
        for text, targets, lost in item.phrases:
            drawn = [mask for number in targets if isinstance(mask := masks[number], Mask)]
            if not text.strip() or lost or len(drawn) < len(targets):
                reason = _reason(drawn) if text.strip() else "phrase without words"
                left.append(Skipped(reason, f"{text!r} of {item.key}"))
            else:
                phrases.append(Phrase(text.strip(), tuple(drawn)))
        record = Record(item.key, data, size, self.manifest, phrases=tuple(phrases)) if phrases else None
        return ReadResult(record, tuple(left))


def _reason(drawn: Sequence[Mask]) -> str:
    return "phrase of several things, one of which has no mask" if drawn else "phrase without a mask"


def _item(
    content: CocoFile, number: int, said: list[Expression], images: Path, things: Mapping[int, Mapping[str, Any]]
) -> PhraseItem:
    image = content.images[number]
    name = image["file_name"]
    key = Path(name).with_suffix("").as_posix().replace("/", "-")
    targets = dict.fromkeys(target for one in said for target in one.targets)
    segmentations = {target: things[target].get("segmentation") for target in targets}
    phrases = tuple((one.text, one.targets, one.lost) for one in said)
    return PhraseItem(key, images / name, phrases, segmentations, stated_size(image))


def _things(content: CocoFile) -> dict[int, Mapping[str, Any]]:
    """Return the annotated things by id, which phrases name them by."""
    listed = [one for annotations in content.annotations.values() for one in annotations]
    things = {one["id"]: one for one in listed}
    if doubled := [str(one["id"]) for one in listed if things[one["id"]] != one]:
        raise LayoutError(
            f"{content.path}: {len(doubled)} annotations have an id that another one has ({shorten(doubled)}), so that "
            "phrases may be about either; unpack it again"
        )
    return things


def _check(
    gathered: Mapping[str, Mapping[int, list[Expression]]], content: CocoFile, things: Mapping[int, Any]
) -> None:
    said = [one for by_image in gathered.values() for part in by_image.values() for one in part]
    for what, lost in (
        ("images", sorted({one.image for one in said} - set(content.images), key=str)),
        ("annotations", sorted({target for one in said for target in one.targets} - set(things), key=str)),
    ):
        if lost:
            raise LayoutError(
                f"{content.path}: phrases are about {len(lost)} {what} that are not in it "
                f"({shorten([*map(str, lost)])}); take both files from the same release"
            )
