"""Captions whose phrases have masks, grouped by image: what data sets of grounded captions have in common."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.core.annotations import Caption, CaptionPhrase
from lasagna.core.grounded_text import Span
from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Record
from lasagna.datamodules.converters.common.coco import lost_parts, read_mask
from lasagna.datamodules.converters.common.files import read_annotated_image_file
from lasagna.datamodules.shards.tally import ReadResult, Skipped

Marked = tuple[Span, tuple[Any, ...]]
"""The place of a phrase in its caption, and the encoded masks of what it means."""


@dataclass(frozen=True)
class CaptionText:
    """A caption with the places of its phrases.

    Args:
        text: The caption.
        phrases: The phrases, in the order of the text and without overlaps.
        left_out: What was left out of it.
    """

    text: str
    phrases: tuple[Marked, ...]
    left_out: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class CaptionItem:
    """The captions of an image.

    Args:
        key: Name of the record.
        image: The image file.
        captions: Its captions.
        stated: Height and width of the image as the annotation file states them, if it does.
    """

    key: str
    image: Path
    captions: tuple[CaptionText, ...]
    stated: tuple[int, int] | None = None


def find_phrase(text: str, phrase: str) -> Span | None:
    """Return the first place of a phrase in a caption, in capitals or not, or None.

    Args:
        text: The caption.
        phrase: The phrase.
    """
    found = re.search(re.escape(phrase.strip()), text, re.IGNORECASE) if phrase.strip() else None
    return None if found is None else found.span()


def place_phrases(text: str, phrases: Iterable[tuple[Span | None, Sequence[Any]]], where: str) -> CaptionText:
    """Sort the phrases of a caption, so that none overlaps the next.

    Phrases at the same place mean all of their masks together. One that overlaps the next ends where that begins.

    Args:
        text: The caption.
        phrases: Place of each phrase, or None if it is not in the caption, and its encoded masks.
        where: Whose caption it is, for what is left out.
    """
    placed, left = dict[Span, tuple[Any, ...]](), list[Skipped]()
    for span, masks in phrases:
        begin, end = span or (0, 0)
        inside = 0 <= begin < end <= len(text) and text[begin:end].strip()
        if not inside:
            left.append(Skipped("phrase that is not in its caption", where))
            continue
        begin += end - begin - len(text[begin:end].lstrip())
        span = begin, begin + len(text[begin:end].rstrip())
        placed[span] = (*placed.get(span, ()), *masks)
    kept, order = list[Marked](), sorted(placed)
    for rank, (begin, end) in enumerate(order):
        following = order[rank + 1][0] if rank + 1 < len(order) else end
        cut = begin + len(text[begin : min(end, following)].rstrip())
        if cut > begin:
            kept.append(((begin, cut), placed[begin, end]))
        else:
            left.append(Skipped("phrase that begins with another one", where))
    return CaptionText(text, tuple(kept), tuple(left))


@dataclass(frozen=True)
class ReadCaptions:
    """Reads an image with its captions.

    Args:
        manifest: What holds for all records.
        file: Name of the annotation file, for messages.
        fewest: Fewest words of a caption; shorter ones are left out.
    """

    manifest: Manifest
    file: str
    fewest: int = 1

    def __call__(self, item: CaptionItem) -> ReadResult:
        """Read the image and the masks; a caption of which no phrase has a mask is left out.

        Raises:
            RecordError: If the image is broken or has another size than stated, or a mask is invalid or of another
                size.
        """
        data, size = read_annotated_image_file(item.image, item.stated)
        captions, left = list[Caption](), list[Skipped]()
        for caption in item.captions:
            where = f"{self.file}: a caption of {item.key}"
            left += caption.left_out
            if len(caption.text.split()) < self.fewest:
                left.append(Skipped(f"caption of fewer than {self.fewest} words", where))
                continue
            phrases = [phrase for marked in caption.phrases if (phrase := self._phrase(marked, size, where, left))]
            if phrases:
                captions.append(Caption(caption.text, tuple(phrases)))
            else:
                left.append(Skipped("caption of which no phrase has a mask", where))
        record = Record(item.key, data, size, self.manifest, captions=tuple(captions)) if captions else None
        return ReadResult(record, tuple(left))

    def _phrase(self, marked: Marked, size: tuple[int, int], where: str, left: list[Skipped]) -> CaptionPhrase | None:
        span, codings = marked
        masks = []
        for coding in codings:
            mask = read_mask(coding, size, where)
            if isinstance(mask, Mask):
                masks.append(mask)
                left += lost_parts(coding, size, where)
            else:
                left.append(mask)
        return CaptionPhrase(span, tuple(masks)) if masks else None


def caption_items(
    images: Path,
    captions: Iterable[tuple[str, CaptionText]],
    stated: Mapping[str, tuple[int, int] | None] | None = None,
) -> list[CaptionItem]:
    """Group captions by image, in the order in which the images first occur.

    Args:
        images: Folder of the images.
        captions: Name of the image file, and a caption of it.
        stated: Name of the image file to height and width of the image, where they are known.
    """
    gathered: dict[str, list[CaptionText]] = {}
    for name, caption in captions:
        gathered.setdefault(name, []).append(caption)
    sizes = stated or {}
    return [
        CaptionItem(
            Path(name).with_suffix("").as_posix().replace("/", "-"), images / name, tuple(found), sizes.get(name)
        )
        for name, found in gathered.items()
    ]
