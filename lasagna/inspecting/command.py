"""``lasagna inspect``: a page of what is in shards, and an audit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lasagna.datamodules.shard_set import ShardSet, read_shard_set
from lasagna.datamodules.verify import shard_folders
from lasagna.errors import ConfigError, ShardError
from lasagna.html_page import to_page
from lasagna.inspecting.audit import audit_names, audit_overlap, audit_tally
from lasagna.inspecting.examples import MOST, QUALITY, draw_examples
from lasagna.inspecting.findings import MEANINGS, NOTES, Finding, by_kind, totals
from lasagna.inspecting.page import Inspected, to_markdown
from lasagna.inspecting.plots import draw_counts
from lasagna.inspecting.survey import Survey, survey


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
        examples: How many examples of each folder are drawn, up to 100; 0 for none.
        seed: Seed of the choice of examples.
        processes: How many processes read; None for as many as there are cores, 0 for this process alone.
        strict: Whether findings are an error; those that are no fault (unused names, shared images) are not.

    Raises:
        ConfigError: If the number of examples is out of range.
        ShardError: If a folder has no shards, or with ``strict`` if something is wrong.
    """
    if not 0 <= examples <= MOST:
        raise ConfigError(f"examples: expected a number from 0 to {MOST}, got {examples}")
    folders = list(dict.fromkeys(folder for part in shards for folder in shard_folders(part)))
    sets = [read_shard_set(folder) for folder in folders]
    surveys = [survey(shard_set, processes) for shard_set in sets]
    shared = audit_overlap(dict(zip(folders, surveys, strict=True)))
    out.mkdir(parents=True, exist_ok=True)
    inspected = []
    for rank, (shard_set, found) in enumerate(zip(sets, surveys, strict=True)):
        draw_counts(found, out / f"counts-{rank}.png")
        sheet = draw_examples(shard_set, examples, seed)
        drawn = None if sheet is None else f"examples-{rank}.jpg"
        if sheet is not None:
            sheet.save(out / f"examples-{rank}.jpg", quality=QUALITY)
        inspected.append(Inspected(shard_set, found, _findings(shard_set, found), f"counts-{rank}.png", drawn))
    _write(inspected, shared, out)
    _tell(out, [*shared, *(finding for one in inspected for finding in one.findings)], strict)


def _findings(shard_set: ShardSet, found: Survey) -> list[Finding]:
    return [*found.findings, *audit_tally(shard_set.tally), *audit_names(shard_set.manifest, found)]


def _write(folders: Sequence[Inspected], shared: Sequence[Finding], out: Path) -> None:
    page = to_page("Inspection of shards", to_markdown(folders, shared), folder=out)
    (out / "report.html").write_text(page, encoding="utf-8")
    content = {str(one.shard_set.folder): _as_json(one.survey, one.findings) for one in folders}
    whole = {"folders": content, "shared": by_kind(shared)}
    (out / "report.json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _tell(out: Path, findings: Sequence[Finding], strict: bool) -> None:
    counts = totals(findings)
    lines = [f"{kind}: {count} ({MEANINGS[kind]})" for kind, count in counts.items()] or ["nothing found"]
    if strict and set(counts) - set(NOTES):
        raise ShardError("\n".join(["shards: the audit found", *lines, f"see {out / 'report.html'}"]))
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
