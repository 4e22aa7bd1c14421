"""``lasagna inspect``: a page of what is in shards, and an audit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lasagna.datamodules.shard_folder import ShardFolder
from lasagna.datamodules.shard_set import read_shard_set
from lasagna.datamodules.verify import shard_folders
from lasagna.errors import ShardError
from lasagna.html_page import to_page
from lasagna.inspecting.audit import audit_names, audit_overlap, audit_tally
from lasagna.inspecting.examples import draw_examples
from lasagna.inspecting.findings import MEANINGS, NOTES, Finding, by_kind
from lasagna.inspecting.plots import draw_counts
from lasagna.inspecting.survey import Survey, survey

SHOWN = 10
"""How many places of a finding the page shows; the JSON has all."""


def inspect(
    shards: list[str],
    out: Path = Path("inspection"),
    examples: int = 12,
    seed: int = 0,
    processes: int | None = None,
    strict: bool = False,
) -> None:
    """Look at all records of some folders of shards, and write report.html, report.json and pictures.

    Args:
        shards: Folders of shards, or folders whose folders are (train, val, ...), or addresses of folders of shards, as
            sources of a config have them; overlaps are looked for among all.
        out: Where the report goes.
        examples: How many examples of each folder are drawn.
        seed: Seed of the choice of examples.
        processes: How many processes read; None for as many as there are cores, 0 for this process alone.
        strict: Whether findings are an error; those that are no fault (unused names, shared images) are not.

    Raises:
        ShardError: If a folder has no shards, or with ``strict`` if something is wrong.
    """
    folders = list(dict.fromkeys(folder for part in shards for folder in shard_folders(part)))
    sets = {folder: read_shard_set(folder) for folder in folders}
    surveys = {folder: survey(shard_set, processes) for folder, shard_set in sets.items()}
    found = {
        folder: [*one.findings, *audit_tally(sets[folder].tally), *audit_names(sets[folder].manifest, one)]
        for folder, one in surveys.items()
    }
    shared = audit_overlap(surveys)
    out.mkdir(parents=True, exist_ok=True)
    lines, pictures = _audit_lines("Shared by folders", shared), []
    for rank, folder in enumerate(folders):
        draw_counts(surveys[folder], out / f"counts-{rank}.png")
        sheet = draw_examples(sets[folder], examples, seed)
        names = [f"counts-{rank}.png"]
        if sheet is not None:
            sheet.save(out / f"examples-{rank}.png")
            names.append(f"examples-{rank}.png")
        pictures += names
        lines += _folder_lines(folder, sets[folder].manifest.name, surveys[folder], found[folder])
        lines += [f"Pictures: {', '.join(names)}, below.", ""]
    text = "\n".join(["## Findings", "", *lines])
    (out / "report.html").write_text(to_page("Inspection of shards", text, pictures), encoding="utf-8")
    content = {str(folder): _as_json(surveys[folder], found[folder]) for folder in folders}
    whole = {"folders": content, "shared": by_kind(shared)}
    (out / "report.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _tell(out, [*shared, *(finding for part in found.values() for finding in part)], strict)


def _tell(out: Path, findings: Sequence[Finding], strict: bool) -> None:
    counts = {kind: len(places) for kind, places in by_kind(findings).items()}
    lines = [f"{kind}: {count} ({MEANINGS[kind]})" for kind, count in counts.items()] or ["nothing found"]
    if strict and set(counts) - set(NOTES):
        raise ShardError("\n".join(["shards: the audit found", *lines, f"see {out / 'report.html'}"]))
    Console().print("\n".join([*lines, f"written to {out}"]), markup=False, highlight=False, soft_wrap=True)


def _folder_lines(folder: ShardFolder, name: str, found: Survey, findings: Sequence[Finding]) -> list[str]:
    counts = [f"{count} {kind}" for kind, count in found.annotations.items() if count]
    sizes = [f"{width} x {height} ({count})" for (height, width), count in found.sizes.most_common(3)]
    present = sum(number * count for number, count in found.entries.items()) / max(1, found.records)
    lines = [f"## {folder}", "", f"{name}: {found.records} records, {len(found.images)} categories on images, "]
    lines[-1] += f"{present:.1f} present on an image; {', '.join(counts) or 'no phrases, questions or talk'}. "
    lines[-1] += f"Sizes: {', '.join(sizes)}{', ...' if len(found.sizes) > 3 else ''}."
    table = ["| category | images | share of all pixels |", "| --- | ---: | ---: |"]
    area = sum(height * width * count for (height, width), count in found.sizes.items())
    table += [
        f"| {name} | {count} | {found.pixels[name] / max(1, area):.4f} |"
        for name, count in found.images.most_common(SHOWN)
    ]
    return [*lines, "", *(table if found.images else []), "", *_audit_lines("Audit", findings)]


def _audit_lines(title: str, findings: Sequence[Finding]) -> list[str]:
    lines = [f"### {title}", ""]
    for kind, places in by_kind(findings).items():
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        lines.append(f"- **{kind}** ({len(places)}): {MEANINGS[kind]}. {'; '.join(places[:SHOWN])}{more}")
    return [*lines, *([] if findings else ["Nothing found."]), ""]


def _as_json(found: Survey, findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "records": found.records,
        "sizes": {f"{width}x{height}": count for (height, width), count in found.sizes.most_common()},
        "categories": {name: {"images": n, "pixels": found.pixels[name]} for name, n in found.images.most_common()},
        "present_categories": dict(sorted(found.entries.items())),
        "annotations": dict(found.annotations),
        "findings": by_kind(findings),
    }
