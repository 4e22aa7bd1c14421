"""Counting what the records of a folder of shards hold, and noting what is wrong with single records."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import combinations
from multiprocessing import Pool
from os import cpu_count
from typing import Any

import numpy as np
from rich.progress import track

from lasagna.core.masks import Mask, reaches_beyond
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest, Record
from lasagna.datamodules.converters.common.conversion import coco_number
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.folder import Shard, ShardFolder
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import read_shard
from lasagna.datamodules.shards.tally import BEYOND, WriteStats
from lasagna.errors import LasagnaError, RecordError

MEANINGS = {
    "broken shards": "shards that are missing, or are not what was written; copy or convert them again",
    "broken records": "records that cannot be read; convert again, or skip them by `--data.broken skip`",
    "wrong sizes": "records whose image has another size than they say; convert them again",
    "empty masks": "annotations without a pixel, which nothing asks for; draw them again, or take them out",
    "masks outside the image": "masks that reach beyond the border, where they are cut off; look whether they fit it",
    "present and absent": "names that are annotated, and noted as absent, on the same image; take one of the two out",
    "doubled images": "the same image file under two keys of one split; make one record of both, or take one out",
    "unused names": "names of the manifest that are on no image; they can only ever be absent",
    "clashing names": (
        "names that differ by case, hyphens or an ending alone, so that answers cannot tell them apart; rename one, or "
        "make one of them"
    ),
    "aliases that are names": "other names of a category that are a category's own name; take the alias out",
    "images in several splits": (
        "the same image file where one trains and where one scores, so that a score tells what was learned by heart; "
        "take it out of one of them"
    ),
    "photographs in several splits": (
        "the same photograph of COCO, by number, where one trains and where one scores; take it out of one of them"
    ),
    "shared images": "images that two training splits have in common, or two evaluation splits",
}
"""Kinds of findings, what they mean, and the way out."""

NOTES = ("unused names", "shared images")
"""Kinds that one should know of, and that are no fault: every part of a data set has some."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or that one should know.

    Args:
        kind: One of ``MEANINGS``.
        where: What it is about.
        count: How many of its kind it stands for, e.g. images that two folders share.
    """

    kind: str
    where: str
    count: int = 1


def by_kind(findings: Iterable[Finding]) -> dict[str, list[str]]:
    """Return kind to places, in the order of ``MEANINGS``."""
    found: dict[str, list[str]] = {kind: [] for kind in MEANINGS}
    for finding in findings:
        found[finding.kind].append(finding.where)
    return {kind: places for kind, places in found.items() if places}


def totals(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many there are of each kind, in the order of ``MEANINGS``."""
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.kind] += finding.count
    return {kind: counts[kind] for kind in MEANINGS if counts[kind]}


FURTHER = re.compile(r"~\d+$")
"""How keys end of further records that a data set has of one image, such as several talks."""


@dataclass
class Survey:
    """Counts of some records.

    Args:
        records: How many there are.
        sizes: How many have each height and width.
        images: On how many images each category is present.
        pixels: How many pixels each category covers.
        entries: How many images have each number of present categories.
        annotations: How many phrases, questions and turns of talk there are, and names known to be absent.
        contents: Checksum of each image file to the key of its record.
        photographs: Number of each photograph of COCO to the key of its record.
        findings: What is wrong with single records.
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
    """Look at all records of a folder of shards, in several processes, with a progress bar.

    Args:
        shard_set: The shards.
        processes: How many processes; None for as many as there are cores, 0 for this one alone.
    """
    processes = (cpu_count() or 1) if processes is None else processes
    look, found = partial(_survey_shard, shard_set), Survey()
    if processes < 2:
        parts: Iterator[Survey] = map(look, shard_set.shards)
        for part in track(parts, f"reading {shard_set.folder}", total=len(shard_set.shards)):
            found.add(part)
        return found
    with Pool(processes) as pool:
        for part in track(pool.imap(look, shard_set.shards), f"reading {shard_set.folder}", len(shard_set.shards)):
            found.add(part)
    return found


def _survey_shard(shard_set: ShardSet, shard: Shard) -> Survey:
    found = Survey()
    if fault := shard_set.fault(shard):
        found.findings.append(Finding("broken shards", fault))
        return found
    try:
        for sample in read_shard(shard_set, shard):
            try:
                record = decode_record(sample, shard_set.manifest)
                found.add(survey_record(record))
                found.findings += _beyond(record, json.loads(sample["json"]))
            except RecordError as error:
                found.findings.append(Finding("broken records", str(error)))
    except LasagnaError as error:
        found.findings.append(Finding("broken shards", str(error)))
    return found


def _beyond(record: Record, fields: Mapping[str, Any]) -> list[Finding]:
    """Return the masks that are stored as polygons and reach beyond the image."""
    codes = [(part["name"], part["mask"]) for part in fields.get("regions", ())]
    asked = [*fields.get("phrases", ()), *fields.get("questions", ())]
    codes += [(part["text"], code) for part in asked for code in part.get("masks") or ()]
    codes.append(("ignore", fields.get("ignore")))
    return [
        Finding("masks outside the image", f"{record.key}: {name}")
        for name, code in codes
        if reaches_beyond(code, record.size)
    ]


def survey_record(record: Record) -> Survey:
    """Count what a record holds.

    Raises:
        RecordError: If its image or label map is broken.
    """
    found = Survey(records=1)
    image = record.image()
    if image.shape[:2] != record.size:
        found.findings.append(Finding("wrong sizes", f"{record.key}: says {record.size}, is {image.shape[:2]}"))
    found.sizes[record.size] += 1
    there = {name: int(mask.decode().sum()) for name, mask in record.category_masks().items()}
    found.images.update({name: 1 for name, count in there.items() if count})
    found.pixels.update(there)
    found.entries[sum(count > 0 for count in there.values())] += 1
    found.annotations.update(_annotations(record))
    found.findings += [Finding("empty masks", f"{record.key}: {name}") for name, count in there.items() if not count]
    found.findings += [Finding("empty masks", f"{record.key}: {text}") for text, mask in _drawn(record) if _empty(mask)]
    found.findings += [
        Finding("present and absent", f"{record.key}: {name}") for name in record.absent if there.get(name)
    ]
    found.contents[sha256(record.image_bytes).hexdigest()] = record.key
    if number := coco_number(record.key):
        found.photographs[number] = record.key
    return found


def _annotations(record: Record) -> dict[str, int]:
    return {
        "phrases": len(record.phrases),
        "phrases that fit nothing": sum(not phrase.masks for phrase in record.phrases),
        "phrases that fit several things": sum(len(phrase.masks) > 1 for phrase in record.phrases),
        "questions answered in words": sum(question.masks is None for question in record.questions),
        "questions answered by masks": sum(question.masks is not None for question in record.questions),
        "turns of talk": len(record.conversation),
        "names known to be absent": len(record.absent),
        "names without a usable or complete mask": len(record.unclear),
        "images with ignored pixels": int(record.ignored() is not None),
    }


def _drawn(record: Record) -> Iterator[tuple[str, Mask]]:
    for phrase in record.phrases:
        yield from ((phrase.text, mask) for mask in phrase.masks)
    for question in record.questions:
        yield from ((question.text, mask) for mask in question.masks or ())


def _empty(mask: Mask) -> bool:
    return not np.any(mask.decode())


MOST = 20
"""How many images that two folders share are named."""

EVALUATION = re.compile(r"(mini|hard)?(val|test|dev)", re.IGNORECASE)
"""How the names of splits begin that scores are made on; all others are trained on."""


def audit_names(manifest: Manifest, survey: Survey) -> list[Finding]:
    """Return what is wrong with the names of a data set.

    Args:
        manifest: Its manifest.
        survey: What its records hold.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in manifest.categories:
        alike[_stem(name)].append(name)
    findings = [Finding("clashing names", ", ".join(names)) for names in alike.values() if len(names) > 1]
    own = set(map(normalise, manifest.categories))
    findings += [
        Finding("aliases that are names", f"{alias!r} of {name!r}")
        for name, others in manifest.aliases.items()
        for alias in others
        if normalise(alias) in own - {normalise(name)}
    ]
    return findings + [Finding("unused names", name) for name in manifest.categories if not survey.images[name]]


def audit_tally(tally: WriteStats) -> list[Finding]:
    """Return what the conversion cut off of masks, which the shards themselves no longer show.

    Args:
        tally: What was counted when the shards were written.
    """
    count = tally.left_out.get(BEYOND, 0)
    where = f"{count} in the conversion (e.g. {'; '.join(tally.examples.get(BEYOND, ()))})"
    return [Finding("masks outside the image", where, count)] if count else []


def audit_overlap(surveys: Mapping[ShardFolder, Survey]) -> list[Finding]:
    """Return the images that several folders share: the same file, or the same photograph of COCO.

    What a training and an evaluation split share is a leak; which a folder is, its name says. RefCOCO has photographs
    of COCO's train2014 under other names, which are in train2017 and val2017 as well; the number in the file's name is
    the same.

    Args:
        surveys: What the records of each folder hold.
    """
    findings = []
    for (first, one), (second, other) in combinations(surveys.items(), 2):
        images = {one.contents[content] for content in set(one.contents) & set(other.contents)}
        photographs = {one.photographs[number] for number in set(one.photographs) & set(other.photographs)} - images
        if _evaluates(first) == _evaluates(second):
            found = {"shared images": images | photographs}
        else:
            found = {"images in several splits": images, "photographs in several splits": photographs}
        for kind, keys in found.items():
            shown = ", ".join(sorted(keys)[:MOST]) + (", ..." if len(keys) > MOST else "")
            findings += [Finding(kind, f"{len(keys)} of {first} and {second}: {shown}", len(keys))] if keys else []
    return findings


def _evaluates(folder: ShardFolder) -> bool:
    return EVALUATION.match(re.split(r"[/\\]", str(folder).rstrip("/\\"))[-1]) is not None


def _stem(name: str) -> str:
    """Return what names that mean the same have in common: "Traffic-Lights" and "traffic light"."""
    words = re.sub(r"[\W_]+", " ", normalise(name)).split()
    return " ".join(word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word for word in words)
