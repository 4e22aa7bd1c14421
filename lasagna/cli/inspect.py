"""``lasagna inspect``: a report of what shards hold, with examples and findings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from lasagna.core.dialogue import AnsweredEntry
from lasagna.core.masks import BoolMask, Mask, UnionMask
from lasagna.core.pages import to_page
from lasagna.core.record import Caption, Record, Region
from lasagna.core.seeding import generator
from lasagna.core.storage import check_output, write_json, write_text, writing
from lasagna.datamodules.inspection.audit import audit_names, audit_overlap, audit_tally
from lasagna.datamodules.inspection.page import Inspected, draw_counts, to_markdown
from lasagna.datamodules.inspection.survey import MEANINGS, NOTES, Finding, Survey, by_kind, survey, totals
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet, read_shard_set
from lasagna.datamodules.shards.reader import read_shard
from lasagna.datamodules.shards.verify import shard_folders
from lasagna.errors import ConfigError, LasagnaError, ShardError
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet

MOST = 100
"""Maximum number of examples on a sheet; JPEG allows at most 65535 rows of pixels."""

QUALITY = 90
"""JPEG quality of the sheets: a third of the size of PNG, with lines and letters still crisp."""

SHARDS = 4
"""Minimum number of shards to draw examples from, if there are as many: neighbouring records often look alike."""


def draw_examples(shard_set: ShardSet, count: int, seed: int = 0) -> Image.Image | None:
    """Draw examples of random records of a few random shards; the same seed draws the same ones.

    The first example of each record shows its categories, a phrase, a question or its conversation; further ones follow
    if there are too few records.

    Args:
        shard_set: The shards.
        count: Number of examples.
        seed: Seed of the choice.

    Returns:
        The sheet, or None if there is nothing to draw or no record can be read.
    """
    rng = generator(seed, 0, shard_set.manifest.name)
    share = -(-count // min(SHARDS, len(shard_set.shards)))
    by_record: list[list[Example]] = []
    for rank in rng.permutation(len(shard_set.shards)):
        if len(by_record) < count:
            by_record += _shard_examples(shard_set, shard_set.shards[rank], min(share, count - len(by_record)), rng)
    examples = [example for example in chain(*zip_longest(*by_record)) if example is not None][:count]
    return contact_sheet(examples, side=300) if examples else None


def _shard_examples(shard_set: ShardSet, shard: Shard, count: int, rng: np.random.Generator) -> list[list[Example]]:
    wanted = set(rng.permutation(shard.records)[:count].tolist())
    by_record: list[list[Example]] = []
    try:
        for rank, sample in enumerate(read_shard(shard_set, shard)):
            if rank in wanted:
                by_record.append(_record_examples(decode_record(sample, shard_set.manifest), rng))
            if rank == max(wanted):
                break
    except LasagnaError:
        return by_record  # the findings name the error
    return by_record


def _record_examples(record: Record, rng: np.random.Generator) -> list[Example]:
    """Return an example of each kind of annotation that a record has, in random order."""
    examples = [_categories(record)] if record.category_masks() or record.absent else []
    if record.phrases:
        phrase = record.phrases[rng.integers(len(record.phrases))]
        examples.append(_phrase(record, phrase.text, phrase.masks))
    if record.questions:
        question = record.questions[rng.integers(len(record.questions))]
        if question.masks is None:
            examples.append(_words(record, question.text, question.answer))
        else:
            examples.append(_phrase(record, question.text, question.masks))
    if record.captions:
        examples.append(_caption(record, record.captions[rng.integers(len(record.captions))]))
    if record.conversation:
        examples.append(_words(record, record.conversation[0].question, record.conversation[0].answer))
    return [examples[rank] for rank in rng.permutation(len(examples))]


def _categories(record: Record) -> Example:
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    objects = record.objects()
    present = [_entry(name, mask, objects.get(name)) for name, mask in masks.items()]
    absent = [AnsweredEntry(name, False, 0.0) for name in record.absent]
    unclear = f" (not asked for: {', '.join(record.unclear)})" if record.unclear else ""
    query = ", ".join([*masks, *record.absent])
    return Example(record.image(), query, [*present, *absent], note=record.key + unclear, annotated=True)


def _entry(name: str, mask: BoolMask, objects: Region | None) -> AnsweredEntry:
    parts = () if objects is None else (*(objects.masks or ()), *objects.crowds)
    apart = tuple(part.decode() for part in parts)
    return AnsweredEntry(name, True, 1.0, mask, masks=apart, scores=(1.0,) * len(apart))


def _phrase(record: Record, text: str, masks: Sequence[Mask]) -> Example:
    pixels = UnionMask(tuple(masks), shape=record.size).decode() if masks else None
    entry = AnsweredEntry(text, bool(masks), 1.0, pixels)
    return Example(record.image(), text, [entry], note=record.key, annotated=True)


def _caption(record: Record, caption: Caption) -> Example:
    union = [UnionMask(phrase.masks, shape=record.size).decode() for phrase in caption.phrases]
    entries = [
        AnsweredEntry(caption.words_of(phrase), True, 1.0, mask, span=phrase.span)
        for phrase, mask in zip(caption.phrases, union, strict=True)
    ]
    return Example(record.image(), "", entries, text=caption.text, note=record.key, annotated=True)


def _words(record: Record, question: str, answer: str) -> Example:
    return Example(record.image(), question, [], text=answer, note=record.key, annotated=True)


def inspect(
    shards: list[str],
    out: Path = Path("inspection"),
    examples: int = 12,
    seed: int = 0,
    processes: int | None = None,
    strict: bool = False,
) -> None:
    """Inspect all records of some folders of shards, and write report.html, report.json and pictures.

    Args:
        shards: Folders of shards, folders that hold several of them (train, val, ...), or addresses of remote folders
            of shards, as in a config; all of them are compared for images that they share.
        out: Folder for the report.
        examples: Number of examples to draw of each folder, up to 100; 0 for none.
        seed: Seed of the choice of examples.
        processes: Number of processes that read; None for the number of cores, 0 for this process only.
        strict: Whether findings are an error, except for mere notes (unused names, shared images).

    Raises:
        ConfigError: If the number of examples is out of range.
        ShardError: If a folder has no shards, or with ``strict`` if there are findings.
    """
    if not 0 <= examples <= MOST:
        raise ConfigError(f"examples: expected a number from 0 to {MOST}, got {examples}")
    check_output(out)
    folders = list(dict.fromkeys(folder for part in shards for folder in shard_folders(part)))
    sets = [read_shard_set(folder) for folder in folders]
    surveys = [survey(shard_set, processes) for shard_set in sets]
    shared = audit_overlap(dict(zip(folders, surveys, strict=True)))
    inspected = []
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for rank, (shard_set, found) in enumerate(zip(sets, surveys, strict=True)):
        draw_counts(found, out / f"counts-{rank}.png")
        sheet = draw_examples(shard_set, examples, seed)
        picture = None if sheet is None else f"examples-{rank}.jpg"
        if sheet is not None:
            sheet.save(out / f"examples-{rank}.jpg", quality=QUALITY)
        findings = [*found.findings, *audit_tally(shard_set.tally), *audit_names(shard_set.manifest, found)]
        inspected.append(Inspected(shard_set, found, findings, f"counts-{rank}.png", picture))
    _write(inspected, shared, out)
    _report(out, [*shared, *(finding for one in inspected for finding in one.findings)], strict)


def _write(folders: Sequence[Inspected], shared: Sequence[Finding], out: Path) -> None:
    page = to_page("Inspection of shards", to_markdown(folders, shared), folder=out)
    write_text(out / "report.html", page)
    content = {str(one.shard_set.folder): _as_json(one.survey, one.findings) for one in folders}
    report = {"folders": content, "shared": by_kind(shared)}
    write_json(out / "report.json", report, indent=1, ensure_ascii=False)


def _report(out: Path, findings: Sequence[Finding], strict: bool) -> None:
    counts = totals(findings)
    lines = [f"{kind}: {count} ({MEANINGS[kind]})" for kind, count in counts.items()] or ["nothing found"]
    if strict and set(counts) - set(NOTES):
        raise ShardError("\n".join(["shards: the inspection found", *lines, f"see {out / 'report.html'}"]))
    Console().print(
        "\n".join([*lines, f"written to {out / 'report.html'}"]), markup=False, highlight=False, soft_wrap=True
    )


def _as_json(found: Survey, findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "records": found.records,
        "sizes": {f"{width}x{height}": count for (height, width), count in found.sizes.most_common()},
        "categories": {name: {"images": n, "pixels": found.pixels[name]} for name, n in found.images.most_common()},
        "present_categories": dict(sorted(found.entries.items())),
        "annotations": dict(found.annotations),
        "findings": by_kind(findings),
    }
