"""The text of the page of an inspection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lasagna.core.pages import figure, table
from lasagna.datamodules.shard_set import ShardSet
from lasagna.inspecting.findings import MEANINGS, Finding, by_kind, totals
from lasagna.inspecting.survey import Survey

SHOWN = 10
"""How many places of a finding, and how many categories, the page shows; the JSON has all."""

SIZES = 3
"""How many sizes of images are named."""

MEGABYTE = 1e6


@dataclass(frozen=True)
class Inspected:
    """A folder of shards, and what was found in it.

    Args:
        shard_set: The shards.
        survey: What their records hold.
        findings: What is wrong, or should be known.
        counts: File name of the picture of counts.
        examples: File name of the sheet of examples, or None if there is none.
    """

    shard_set: ShardSet
    survey: Survey
    findings: Sequence[Finding]
    counts: str
    examples: str | None


def to_markdown(folders: Sequence[Inspected], shared: Sequence[Finding]) -> str:
    """Return an overview, what folders share, and a part for each folder.

    Args:
        folders: The folders.
        shared: What is found between them.
    """
    lines = ["## Overview", "", *_overview(folders), "", *_findings("Shared by folders", shared, len(folders) > 1)]
    return "\n".join([*lines, *(line for folder in folders for line in _part(folder))])


def _overview(folders: Sequence[Inspected]) -> list[str]:
    rows = []
    for one in folders:
        found = ", ".join(f"{count} {kind}" for kind, count in totals(one.findings).items())
        counts = str(one.survey.records), str(len(one.survey.images)), f"{_present(one.survey):.1f}"
        rows.append([str(one.shard_set.folder), one.shard_set.manifest.name, *counts, found or "nothing"])
    return table(["folder", "data set", "images", "categories", "present on an image", "found"], rows)


def _part(one: Inspected) -> list[str]:
    lines = [f"## {one.shard_set.folder}", "", *_facts(one), "", *_findings("Findings", one.findings)]
    lines += ["### Categories", "", *_categories(one.survey), *figure(one.counts, "counts"), ""]
    return [*lines, *(["### Examples", *figure(one.examples, "examples"), ""] if one.examples else [])]


def _facts(one: Inspected) -> list[str]:
    shard_set, found, manifest = one.shard_set, one.survey, one.shard_set.manifest
    size = sum(shard.bytes for shard in shard_set.shards) / MEGABYTE
    kinds = [f"{count} {kind}" for kind, count in found.annotations.items() if count]
    facts = [
        f"**{manifest.name}**: {found.records} images; shards: {len(shard_set.shards)}, {size:.1f} MB",
        f"{len(found.images)} of {len(manifest.categories)} categories are on images, {_present(found):.1f} on each; "
        f"what is not annotated is {manifest.unannotated}",
        ", ".join(kinds) or "no phrases, questions or talk",
        f"width and height: {_sizes(found.sizes)}",
        *shard_set.tally.lines()[1:],
        f"origin: {manifest.origin or 'not told'}; licence: {manifest.licence or 'not told'}",
    ]
    return [f"- {fact}" for fact in facts]


def _sizes(sizes: Counter[tuple[int, int]]) -> str:
    named = [f"{width} x {height} ({count})" for (height, width), count in sizes.most_common(SIZES)]
    more = [f"{len(sizes) - SIZES} others"] if len(sizes) > SIZES else []
    return ", ".join([*named, *more]) or "none"


def _categories(found: Survey) -> list[str]:
    if not found.images:
        return ["None.", ""]
    area = sum(height * width * count for (height, width), count in found.sizes.items())
    first = found.images.most_common(SHOWN)
    rows = [[name, str(count), f"{found.pixels[name] / area:.2%}"] for name, count in first]
    more = [f"The first {SHOWN} of {len(found.images)}; report.json has all.", ""] if len(found.images) > SHOWN else []
    return [*table(["category", "images", "of all pixels"], rows), "", *more]


def _present(found: Survey) -> float:
    return sum(number * count for number, count in found.entries.items()) / max(1, found.records)


def _findings(title: str, findings: Sequence[Finding], shown: bool = True) -> list[str]:
    counts = totals(findings)
    lines = []
    for kind, places in by_kind(findings).items():
        more = f"; and {len(places) - SHOWN} more in report.json" if len(places) > SHOWN else ""
        lines.append(f"- **{kind}** ({counts[kind]}): {MEANINGS[kind]}. {'; '.join(places[:SHOWN])}{more}")
    return [f"### {title}", "", *(lines or ["Nothing."]), ""] if shown else []
