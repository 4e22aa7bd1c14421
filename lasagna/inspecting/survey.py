"""Counting what the records of a folder of shards hold, and noting what is wrong with single records."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from multiprocessing import Pool
from os import cpu_count
from typing import Any

import numpy as np
from rich.progress import track

from lasagna.core.masks import Mask, reaches_beyond
from lasagna.core.record import Record
from lasagna.datamodules.converters.common.conversion import coco_number
from lasagna.datamodules.record_codec import decode_record
from lasagna.datamodules.shard_folder import Shard
from lasagna.datamodules.shard_reader import read_shard
from lasagna.datamodules.shard_set import ShardSet
from lasagna.errors import LasagnaError, RecordError
from lasagna.inspecting.findings import Finding

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
        "turns of talk": len(record.talk),
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
