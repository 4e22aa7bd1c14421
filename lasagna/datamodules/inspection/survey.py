"""Counts of the records of shards, and findings about single records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from textwrap import shorten
from typing import Any

import numpy as np

from lasagna.core.json_text import parse_json
from lasagna.core.masks import BoolMask, Mask, reaches_beyond
from lasagna.core.prompt_formats import PROMPT_FORMATS
from lasagna.core.record import Record
from lasagna.datamodules.converters.common.conversion import coco_number
from lasagna.datamodules.converters.common.files import is_turned
from lasagna.datamodules.inspection.findings import LONG, Finding
from lasagna.datamodules.shards.codec import decode_record, own_sample
from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import RawSample, read_shard
from lasagna.errors import LasagnaError, RecordError

TOKENS = tuple(
    dict.fromkeys(
        [token for form in PROMPT_FORMATS.values() for token in form.special_tokens]
        + ["<s>", "</s>", "<unk>", "<pad>", "<end>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    )
)
"""Tokens of the named prompt formats and of usual language models; an assistant's own ones may differ."""


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
    """

    records: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    pixels: Counter[str] = field(default_factory=Counter)
    entries: Counter[int] = field(default_factory=Counter)
    annotations: Counter[str] = field(default_factory=Counter)

    def add(self, other: Survey) -> None:
        """Add the counts of other records."""
        self.records += other.records
        for name in ("sizes", "images", "pixels", "entries", "annotations"):
            getattr(self, name).update(getattr(other, name))

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        pairs = {"sizes": [*self.sizes.items()], "entries": [*self.entries.items()]}
        words = {"images": self.images, "pixels": self.pixels, "annotations": self.annotations}
        return {"records": self.records, **pairs, **words}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Survey:
        """Return the counts that ``to_json`` turned into plain data."""
        sizes = Counter({(height, width): count for (height, width), count in data["sizes"]})
        words = {name: Counter(data[name]) for name in ("images", "pixels", "annotations")}
        return cls(data["records"], sizes=sizes, entries=Counter(dict(data["entries"])), **words)


@dataclass
class ShardSurvey:
    """What was found in some records, with what stands for each of them.

    Args:
        counts: The counts.
        images: Checksum of each image file, key of its record, and number of the COCO photograph or None.
        findings: Problems of single records.
        examples: Samples that were chosen to be drawn, by their rank in the shard.
    """

    counts: Survey = field(default_factory=Survey)
    images: list[tuple[bytes, str, str | None]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    examples: dict[int, RawSample] = field(default_factory=dict)


def survey_shard(shard_set: ShardSet, shard: Shard, examples: Iterable[int] = ()) -> ShardSurvey:
    """Read a shard once, compare it with its checksum, and count its records.

    Args:
        shard_set: The set that it belongs to.
        shard: The shard.
        examples: Ranks of the records to keep as examples.

    Returns:
        What was found; of a shard that is broken, that it is.
    """
    found, wanted, digest = ShardSurvey(), frozenset(examples), sha256()
    if message := "".join(shard_set.folder.size_errors([shard])):
        return ShardSurvey(findings=[Finding("broken shards", message)])
    try:
        for rank, sample in enumerate(read_shard(shard_set, shard, digest=digest)):
            try:
                sample = own_sample(sample)
                _add(found, sample, decode_record(sample, shard_set.manifest))
            except RecordError as error:
                found.findings.append(Finding("broken records", str(error)))
            else:
                found.examples |= {rank: sample} if rank in wanted else {}
    except LasagnaError as error:
        found.findings.append(Finding("broken shards", str(error)))
        return found
    if message := shard_set.checksum_error(shard, digest.hexdigest()):
        return ShardSurvey(findings=[Finding("broken shards", message)])
    return found


def _add(found: ShardSurvey, sample: RawSample, record: Record) -> None:
    counts, findings = survey_record(record)
    found.counts.add(counts)
    found.findings += [*findings, *_beyond(record, parse_json(sample["json"]))]
    found.images.append((sha256(record.image_bytes).digest(), record.key, coco_number(record.key)))


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


def survey_record(record: Record) -> tuple[Survey, list[Finding]]:
    """Return the counts and the findings of a record.

    Args:
        record: The record.

    Raises:
        RecordError: If its image or label map is broken.
    """
    found, findings = Survey(records=1), list[Finding]()
    image = record.image()
    if image.shape[:2] != record.size:
        findings.append(Finding("wrong sizes", f"{record.key}: says {record.size}, is {image.shape[:2]}"))
    if is_turned(record.image_bytes):
        findings.append(Finding("turned images", record.key))
    found.sizes[record.size] += 1
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    pixels = {name: int(mask.sum()) for name, mask in masks.items()}
    found.images.update({name: 1 for name, count in pixels.items() if count})
    found.pixels.update(pixels)
    found.entries[sum(count > 0 for count in pixels.values())] += 1
    found.annotations.update(_annotations(record))
    empty = [name for name, count in pixels.items() if not count]
    objects = {
        (name, rank): mask.decode()
        for name, region in record.objects().items()
        for rank, mask in enumerate(region.masks or (), 1)
    }
    found.annotations["names whose objects overlap"] += _overlapping(objects)
    empty += [f"{name} (object {rank})" for (name, rank), mask in objects.items() if pixels[name] and not mask.any()]
    empty += [text for text, mask in _asked_masks(record) if not np.any(mask.decode())]
    findings += [Finding("empty masks", f"{record.key}: {name}") for name in empty]
    findings += [Finding("present and absent", f"{record.key}: {name}") for name in record.absent if pixels.get(name)]
    findings += _texts(record)
    for alike in _alike({(name, 0): mask for name, mask in masks.items()} | objects):
        ranks: dict[str, list[int]] = {}
        for name, rank in alike:
            ranks.setdefault(name, []).extend([rank] if rank else [])
        findings += [Finding("equal masks", f"{record.key}: {', '.join(ranks)}")] if len(ranks) > 1 else []
        findings += [
            Finding("equal objects", f"{record.key}: {name} ({', '.join(map(str, equal))})", len(equal) - 1)
            for name, equal in ranks.items()
            if len(equal) > 1
        ]
    return found, findings


def _overlapping(objects: Mapping[tuple[str, int], BoolMask]) -> int:
    """Return the number of names of which some objects have pixels in common."""
    covered: dict[str, BoolMask] = {}
    names = set[str]()
    for (name, _), mask in objects.items():
        before = covered.get(name, np.zeros_like(mask))
        if (before & mask).any():
            names.add(name)
        covered[name] = before | mask
    return len(names)


def _alike(masks: Mapping[tuple[str, int], BoolMask]) -> list[list[tuple[str, int]]]:
    """Return the keys of equal masks with pixels, group by group."""
    groups: dict[bytes, list[tuple[str, int]]] = {}
    for key, mask in masks.items():
        if mask.any():
            groups.setdefault(np.packbits(mask).tobytes(), []).append(key)
    return [keys for keys in groups.values() if len(keys) > 1]


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
