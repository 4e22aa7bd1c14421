"""The text of the page of an inspection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from lasagna.core.pages import figure, table
from lasagna.core.plotting import dress, new_figure, save
from lasagna.datamodules.inspection.survey import MEANINGS, Finding, Survey, by_kind, totals
from lasagna.datamodules.shards.manifest import ShardSet

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


MOST = 60
"""How many categories a picture shows."""


def draw_counts(survey: Survey, picture: Path) -> None:
    """Draw on how many images the most frequent categories are, how many entries images have, and their sizes.

    Args:
        survey: The counts.
        picture: Where the PNG goes.
    """
    names = survey.images.most_common(MOST)
    figure = new_figure(11, 4 + 0.17 * len(names))
    grid = figure.add_gridspec(2, 2, height_ratios=[3, max(1.0, 0.17 * len(names))])
    entries = dress(figure.add_subplot(grid[0, 0]), "present categories an image")
    entries.bar(list(survey.entries), list(survey.entries.values()), color="C0")
    entries.xaxis.set_major_locator(MaxNLocator(integer=True))
    sizes = dress(figure.add_subplot(grid[0, 1]), "width and height in pixels")
    heights, widths = zip(*survey.sizes, strict=True) if survey.sizes else ((), ())
    sizes.scatter(widths, heights, s=[8 + 2 * count**0.5 for count in survey.sizes.values()], alpha=0.5, color="C0")
    if names:
        left_out = f", the first {MOST} of {len(survey.images)}" if len(survey.images) > MOST else ""
        bars = dress(figure.add_subplot(grid[1, :]), f"images with each category{left_out}")
        bars.barh([name for name, _ in names][::-1], [count for _, count in names][::-1], color="C0")
        bars.tick_params(axis="y", labelsize=8)
        bars.margins(y=0.01)
    save(figure, picture)
