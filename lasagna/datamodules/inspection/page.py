"""The report of an inspection: its Markdown, and the figure of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from lasagna.core.pages import figure, one_line, table
from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.datamodules.inspection.survey import MEANINGS, Finding, Survey, by_kind, totals
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
    findings: Sequence[Finding]
    counts: str
    examples: str | None


def to_markdown(folders: Sequence[Inspected], shared: Sequence[Finding]) -> str:
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
        found = ", ".join(f"{count} {kind}" for kind, count in totals(one.findings).items())
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


def _findings(title: str, findings: Sequence[Finding]) -> list[str]:
    counts = totals(findings)
    lines = []
    for kind, places in by_kind(findings).items():
        more = f"; and {len(places) - SHOWN} more in report.json" if len(places) > SHOWN else ""
        shown = one_line("; ".join(places[:SHOWN]))
        lines.append(f"- **{kind}** ({counts[kind]}): {MEANINGS[kind]}. {shown}{more}")
    return [f"### {title}", "", *(lines or ["Nothing."]), ""]


MOST = 60
"""Maximum number of categories in the figure."""


def draw_counts(survey: Survey, picture: Path) -> None:
    """Draw a figure of the most frequent categories, the number of categories per image, and the image sizes.

    Args:
        survey: The counts.
        picture: Path of the PNG.
    """
    names = survey.images.most_common(MOST)
    figure = new_figure(11, 4 + 0.17 * len(names))
    grid = figure.add_gridspec(2, 2, height_ratios=[3, max(1.0, 0.17 * len(names))])
    entries = style_axes(figure.add_subplot(grid[0, 0]), "present categories per image")
    entries.bar(list(survey.entries), list(survey.entries.values()), color="C0")
    entries.xaxis.set_major_locator(MaxNLocator(integer=True))
    sizes = style_axes(figure.add_subplot(grid[0, 1]), "width and height in pixels")
    heights, widths = zip(*survey.sizes, strict=True) if survey.sizes else ((), ())
    sizes.scatter(widths, heights, s=[8 + 2 * count**0.5 for count in survey.sizes.values()], alpha=0.5, color="C0")
    if names:
        left_out = f", the first {MOST} of {len(survey.images)}" if len(survey.images) > MOST else ""
        bars = style_axes(figure.add_subplot(grid[1, :]), f"images with each category{left_out}")
        bars.barh([name for name, _ in names][::-1], [count for _, count in names][::-1], color="C0")
        bars.tick_params(axis="y", labelsize=8)
        bars.margins(y=0.01)
    save(figure, picture)
