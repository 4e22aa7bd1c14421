"""Counts of the records of shards, and findings about single records."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from multiprocessing import Pool
from os import cpu_count
from textwrap import shorten
from typing import Any

import numpy as np
from rich.progress import track

from lasagna.core.masks import BoolMask, Mask, reaches_beyond
from lasagna.core.prompt_formats import PROMPT_FORMATS
from lasagna.core.record import Record
from lasagna.datamodules.converters.common.conversion import coco_number
from lasagna.datamodules.converters.common.files import is_turned
from lasagna.datamodules.shards.codec import decode_record, own_sample
from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import read_shard
from lasagna.errors import LasagnaError, RecordError

LONG = 3000
"""Number of characters from which a text is reported: 1,024 tokens, which also hold the image, take fewer."""

TOKENS = tuple(
    dict.fromkeys(
        [token for form in PROMPT_FORMATS.values() for token in form.special_tokens]
        + ["<s>", "</s>", "<unk>", "<pad>", "<end>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    )
)
"""Tokens of the named prompt formats and of usual language models; an assistant's own ones may differ."""

MEANINGS = {
    "broken shards": "shards that are missing or differ from what was written; copy or convert them again",
    "broken records": "records that cannot be read; convert again, or skip them with `--data.broken skip`",
    "wrong sizes": "records that state another size than their image has; convert them again",
    "turned images": (
        "images whose EXIF tag turns them, though masks belong to the pixels as stored; if masks were drawn on the "
        "image as viewers show it, convert again (`--exif seen`), else remove the tag"
    ),
    "empty masks": "annotations without a single pixel, which no query asks for; draw them again, or remove them",
    "masks outside the image": "masks that extend beyond the image and are cropped; check that they belong to it",
    "present and absent": "names that are both annotated and listed as absent on the same image; remove one of the two",
    "tokens in texts": (
        "texts that contain a token of a prompt format or language model, such as <image>; such a record ends a "
        "training, or is skipped with `--data.broken skip`; reword them"
    ),
    "long texts": (
        f"questions with their answers, phrases and names of more than {LONG} characters, which few language models "
        "take; such a record ends a training, or is skipped with `--data.broken skip`; shorten them"
    ),
    "doubled images": "the same image file under two keys of one split; merge the records, or remove one",
    "unused names": "names of the manifest that occur on no image; they can only be absent",
    "names that cannot be asked for": (
        "names with a separator or token of a prompt format, such as a comma; rename them and convert again"
    ),
    "clashing names": (
        "names that differ only by case, hyphens or an ending, so that answers cannot tell them apart; rename one, or "
        "merge them"
    ),
    "aliases that are names": "aliases of a category that are names of another category; remove the alias",
    "images in several splits": (
        "the same image file in a training and an evaluation split, so that scores reward memorisation; remove it from "
        "one of them"
    ),
    "photographs in several splits": (
        "the same COCO photograph, by number, in a training and an evaluation split; remove it from one of them"
    ),
    "equal masks": "names of one image that have the same pixels; synonyms, or two names for one thing: check them",
    "nothing to ask for": "no image has a mask, a phrase or a question; boxes are none: draw masks, or drop the split",
    "shared images": "images that two training splits have in common, or two evaluation splits",
}
"""Kinds of findings: what they mean, and what to do about them."""

NOTES = ("unused names", "equal masks", "nothing to ask for", "shared images")
"""Kinds that are good to know but not errors: every part of a data set has some."""


@dataclass(frozen=True)
class Finding:
    """A problem in some shards, or a note about them.

    Args:
        kind: One of ``MEANINGS``.
        where: What it concerns.
        count: Number of cases it stands for, e.g. of images that two folders share.
    """

    kind: str
    where: str
    count: int = 1


def by_kind(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Return the places of findings by kind, in the order of ``MEANINGS``."""
    found: dict[str, list[str]] = {kind: [] for kind in MEANINGS}
    for finding in findings:
        found[finding.kind].append(finding.where)
    return {kind: places for kind, places in found.items() if places}


def totals(findings: Iterable[Finding]) -> dict[str, int]:
    """Return the number of cases by kind, in the order of ``MEANINGS``."""
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.kind] += finding.count
    return {kind: counts[kind] for kind in MEANINGS if counts[kind]}


FURTHER = re.compile(r"~\d+$")
"""Ending of the keys of further records of one image, e.g. of its second conversation."""


@dataclass
class Survey:
    """Counts of some records.

    Args:
        records: Number of records.
        sizes: Number of images by height and width.
        images: Number of images by category that is present.
        pixels: Number of pixels by category.
        entries: Number of images by number of present categories.
        annotations: Number of phrases, questions, turns of conversations, absent names and other annotations.
        contents: Checksum of each image file to the key of its record.
        photographs: Number of each COCO photograph to the key of its record.
        findings: Problems of single records.
    """

    records: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    entries: Counter[int] = field(default_factory=Counter)
    annotations: Counter[str] = field(default_factory=Counter)
    contents: dict[str, str] = field(default_factory=dict)
    photographs: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Survey) -> None:
        """Add the counts of other records."""
        self.records += other.records
        for name in ("sizes", "images", "pixels", "entries", "annotations"):
            getattr(self, name).update(getattr(other, name))
        self.findings += other.findings
        self.findings += [
            Finding("doubled images", f"{key} and {self.contents[content]}")
            for content, key in other.contents.items()
            if content in self.contents and FURTHER.sub("", key) != FURTHER.sub("", self.contents[content])
        ]
        self.contents |= other.contents
        self.photographs |= other.photographs


def survey(shard_set: ShardSet, processes: int | None = None) -> Survey:
    """Count the records of a folder of shards, in several processes, with a progress bar.

    Args:
        shard_set: The shards.
        processes: Number of processes; None for the number of cores, 0 for this process only.
    """
    processes = (cpu_count() or 1) if processes is None else processes
    survey_shard, found = partial(_survey_shard, shard_set), Survey()
    with Pool(processes) if processes > 1 else nullcontext() as pool:
        parts = pool.imap(survey_shard, shard_set.shards) if pool else map(survey_shard, shard_set.shards)
        for part in track(parts, f"reading {shard_set.folder}", len(shard_set.shards)):
            found.add(part)
    return found


def _survey_shard(shard_set: ShardSet, shard: Shard) -> Survey:
    found = Survey()
    if message := shard_set.shard_error(shard):
        found.findings.append(Finding("broken shards", message))
        return found
    try:
        for sample in read_shard(shard_set, shard):
            try:
                sample = own_sample(sample)
                record = decode_record(sample, shard_set.manifest)
                found.add(survey_record(record))
                found.findings += _beyond(record, json.loads(sample["json"]))
            except RecordError as error:
                found.findings.append(Finding("broken records", str(error)))
    except LasagnaError as error:
        found.findings.append(Finding("broken shards", str(error)))
    return found


def _beyond(record: Record, fields: Mapping[str, Any]) -> list[Finding]:
    """Return a finding for each mask that is stored as polygons and extends beyond the image."""
    regions = fields.get("regions", ())
    codes = [(part["name"], part["mask"]) for part in regions if "mask" in part]
    codes += [(part["name"], code) for part in regions for of in ("masks", "crowds") for code in part.get(of, ())]
    asked = [*fields.get("phrases", ()), *fields.get("questions", ())]
    codes += [(part["text"], code) for part in asked for code in part.get("masks") or ()]
    parts = [part for caption in fields.get("captions", ()) for part in caption.get("phrases", ())]
    codes += [("caption", code) for part in parts for code in part["masks"]]
    codes.append(("ignore", fields.get("ignore")))
    return [
        Finding("masks outside the image", f"{record.key}: {name}")
        for name, code in codes
        if reaches_beyond(code, record.size)
    ]


def survey_record(record: Record) -> Survey:
    """Return the counts and findings of a record.

    Args:
        record: The record.

    Raises:
        RecordError: If its image or label map is broken.
    """
    found = Survey(records=1)
    image = record.image()
    if image.shape[:2] != record.size:
        found.findings.append(Finding("wrong sizes", f"{record.key}: says {record.size}, is {image.shape[:2]}"))
    if is_turned(record.image_bytes):
        found.findings.append(Finding("turned images", record.key))
    found.sizes[record.size] += 1
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    pixels = {name: int(mask.sum()) for name, mask in masks.items()}
    found.images.update({name: 1 for name, count in pixels.items() if count})
    found.pixels.update(pixels)
    found.entries[sum(count > 0 for count in pixels.values())] += 1
    found.annotations.update(_annotations(record))
    empty = [name for name, count in pixels.items() if not count]
    empty += [text for text, mask in _asked_masks(record) if not np.any(mask.decode())]
    found.findings += [Finding("empty masks", f"{record.key}: {name}") for name in empty]
    found.findings += [
        Finding("present and absent", f"{record.key}: {name}") for name in record.absent if pixels.get(name)
    ]
    found.findings += _texts(record)
    found.findings += [Finding("equal masks", f"{record.key}: {', '.join(names)}") for names in _alike(masks)]
    found.contents[sha256(record.image_bytes).hexdigest()] = record.key
    if number := coco_number(record.key):
        found.photographs[number] = record.key
    return found


def _alike(masks: Mapping[str, BoolMask]) -> list[list[str]]:
    """Return the names that have equal masks with pixels, group by group."""
    groups: dict[bytes, list[str]] = {}
    for name, mask in masks.items():
        if mask.any():
            groups.setdefault(np.packbits(mask).tobytes(), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _texts(record: Record) -> list[Finding]:
    """Return a finding for each text that an assistant cannot read: its tokens, or its length."""
    texts = [region.name for region in record.regions] + [*record.absent, *(phrase.text for phrase in record.phrases)]
    pairs = [(text, "") for text in dict.fromkeys(texts)]
    pairs += [(question.text, question.answer) for question in record.questions]
    pairs += [(turn.question, turn.answer) for turn in record.conversation]
    pairs += [(caption.text, "") for caption in record.captions]
    findings = []
    for text, answer in pairs:
        where = f"{record.key}: {shorten(text, 60, placeholder=' ...')}"
        if found := [token for token in TOKENS if token in text or token in answer]:
            findings.append(Finding("tokens in texts", f"{where}: {' '.join(found)}"))
        if (length := len(text) + len(answer)) > LONG:
            findings.append(Finding("long texts", f"{where}: {length} characters"))
    return findings


def _annotations(record: Record) -> dict[str, int]:
    return {
        "phrases": len(record.phrases),
        "phrases that fit nothing": sum(not phrase.masks for phrase in record.phrases),
        "phrases that fit several things": sum(len(phrase.masks) > 1 for phrase in record.phrases),
        "questions answered in words": sum(question.masks is None for question in record.questions),
        "questions answered by masks": sum(question.masks is not None for question in record.questions),
        "turns of conversations": len(record.conversation),
        "captions": len(record.captions),
        "phrases of captions": sum(len(caption.phrases) for caption in record.captions),
        "names known to be absent": len(record.absent),
        "names without a usable or complete mask": len(record.unclear),
        "images with ignored pixels": int(record.ignored() is not None),
    }


def _asked_masks(record: Record) -> Iterator[tuple[str, Mask]]:
    """Yield the masks of phrases, questions and captions with their texts."""
    for phrase in record.phrases:
        yield from ((phrase.text, mask) for mask in phrase.masks)
    for question in record.questions:
        yield from ((question.text, mask) for mask in question.masks or ())
    for caption in record.captions:
        yield from ((caption.words_of(phrase), mask) for phrase in caption.phrases for mask in phrase.masks)
