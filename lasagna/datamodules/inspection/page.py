"""The report of an inspection as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lasagna.core.pages import figure, one_line, table
from lasagna.datamodules.inspection.findings import MEANINGS
from lasagna.datamodules.inspection.store import StoredFindings
from lasagna.datamodules.inspection.survey import Survey
from lasagna.datamodules.shards.manifest import ShardSet

SHOWN = 10
"""Number of places of a finding, and of categories, on the page; the JSON has all."""

SIZES = 3
"""Number of image sizes on the page."""

MEGABYTE = 1e6


@dataclass(frozen=True)
class Inspected:
    """A folder of shards with its counts and findings.

    Args:
        shard_set: The shards.
        survey: Counts of their records.
        findings: Problems and notes.
        counts: File name of the figure of counts.
        examples: File name of the sheet of examples, or None without examples.
    """

    shard_set: ShardSet
    survey: Survey
    findings: StoredFindings
    counts: str
    examples: str | None


def to_markdown(folders: Sequence[Inspected], shared: StoredFindings) -> str:
    """Return the report: an overview, what folders share, and a section for each folder.

    Args:
        folders: The folders.
        shared: Findings that concern several folders.
    """
    lines = ["## Overview", "", *_overview(folders), ""]
    if len(folders) > 1:
        lines += _findings("Shared by folders", shared)
    return "\n".join([*lines, *(line for folder in folders for line in _section(folder))])


def _overview(folders: Sequence[Inspected]) -> list[str]:
    rows = []
    for one in folders:
        found = ", ".join(f"{count} {kind}" for kind, count in one.findings.totals().items())
        counts = str(one.survey.records), str(len(one.survey.images)), f"{_present(one.survey):.1f}"
        rows.append([str(one.shard_set.folder), one.shard_set.manifest.name, *counts, found or "nothing"])
    return table(["folder", "data set", "images", "categories", "present on an image", "found"], rows)


def _section(one: Inspected) -> list[str]:
    lines = [f"## {one_line(str(one.shard_set.folder))}", "", *_facts(one), "", *_findings("Findings", one.findings)]
    lines += ["### Categories", "", *_categories(one.survey), *figure(one.counts, "counts"), ""]
    return [*lines, *(["### Examples", *figure(one.examples, "examples"), ""] if one.examples else [])]


def _facts(one: Inspected) -> list[str]:
    shard_set, found, manifest = one.shard_set, one.survey, one.shard_set.manifest
    size = sum(shard.bytes for shard in shard_set.shards) / MEGABYTE
    kinds = [f"{count} {kind}" for kind, count in found.annotations.items() if count]
    sizes = [f"{width} x {height} ({count})" for (height, width), count in found.sizes.most_common(SIZES)]
    if len(found.sizes) > SIZES:
        sizes.append(f"{len(found.sizes) - SIZES} others")
    facts = [
        f"**{manifest.name}**: {found.records} images; shards: {len(shard_set.shards)}, {size:.1f} MB",
        f"{len(found.images)} of {len(manifest.categories)} categories are present, {_present(found):.1f} on each "
        f"image; categories without annotation are {manifest.unannotated}",
        ", ".join(kinds) or "no phrases, questions or conversations",
        f"width and height: {', '.join(sizes) or 'none'}",
        *shard_set.tally.lines()[1:],
        f"origin: {manifest.origin or 'unknown'}; licence: {manifest.licence or 'unknown'}",
    ]
    return [f"- {one_line(fact)}" for fact in facts]


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


def _findings(title: str, findings: StoredFindings) -> list[str]:
    lines = []
    for kind, count in findings.totals().items():
        more = findings.number(kind) - SHOWN
        shown = one_line("; ".join(findings.places(kind, SHOWN)))
        rest = f"; and {more} more in report.json" if more > 0 else ""
        lines.append(f"- **{kind}** ({count}): {MEANINGS[kind]}. {shown}{rest}")
    return [f"### {title}", "", *(lines or ["Nothing."]), ""]
