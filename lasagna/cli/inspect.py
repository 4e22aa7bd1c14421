"""``lasagna inspect``: a report of what shards hold, with examples and findings."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from rich.console import Console

from lasagna.cli.record_examples import choose_examples, draw_examples
from lasagna.core.locks import locked_folder, terminable
from lasagna.core.pages import to_page
from lasagna.core.storage import check_output, whole_file, write_text, writing
from lasagna.datamodules.inspection.audit import audit_names, audit_overlap, audit_tally
from lasagna.datamodules.inspection.findings import MEANINGS, NOTES
from lasagna.datamodules.inspection.page import Inspected, to_markdown
from lasagna.datamodules.inspection.reading import read_folder
from lasagna.datamodules.inspection.store import SHARED, Store, StoredFindings
from lasagna.datamodules.inspection.survey import Survey
from lasagna.datamodules.shards.manifest import ShardSet, read_shard_set
from lasagna.datamodules.shards.verify import shard_folders
from lasagna.errors import ConfigError, OutputError, ShardError

MOST = 100
"""Maximum number of examples on a sheet; JPEG allows at most 65535 rows of pixels."""

QUALITY = 90
"""JPEG quality of the sheets: a third of the size of PNG, with lines and letters still crisp."""

PAGE, NUMBERS = "report.html", "report.json"
STORE = "unfinished.sqlite"
"""File of what was found so far; removed when the report is written."""


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

    A stopped inspection keeps what it has found in the folder of the report, and the same command goes on from there.

    Raises:
        ConfigError: If the number of examples is out of range.
        OutputError: If the report cannot be written.
        ShardError: If a folder has no shards, or with ``strict`` if there are findings.
    """
    if not 0 <= examples <= MOST:
        raise ConfigError(f"examples: expected a number from 0 to {MOST}, got {examples}")
    _check_files(out)
    folders = list(dict.fromkeys(folder for part in shards for folder in shard_folders(part)))
    sets = [read_shard_set(folder) for folder in folders]
    with _store(out) as store:
        inspected = [
            _inspected(store, shard_set, out, rank, examples, seed, processes) for rank, shard_set in enumerate(sets)
        ]
        store.note(SHARED, audit_overlap(store, {one.shard_set.folder: one.findings.folder for one in inspected}))
        shared = StoredFindings(store, SHARED)
        _write(inspected, shared, out)
        counts = Counter[str]()
        for findings in (shared, *(one.findings for one in inspected)):
            counts.update(findings.totals())
    _report(out, counts, strict)


def _check_files(out: Path) -> None:
    """Check that the report can be written, as far as can be told beforehand."""
    check_output(out)
    if taken := [file for file in (out / PAGE, out / NUMBERS, out / STORE) if file.is_dir()]:
        raise OutputError(f"out: {taken[0]} is a folder, where a file of the report goes; choose another folder")


@contextmanager
def _store(out: Path) -> Iterator[Store]:
    """Keep what is found in a file of the folder until the report is written, also if the inspection is stopped."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    busy = f"another inspection is writing into {out}; wait until it ends, or choose another folder"
    with terminable(), locked_folder(out, busy):
        store = Store(out / STORE)
        try:
            yield store
        except KeyboardInterrupt:
            print(f"what was read is kept in {out / STORE}; the same command goes on from there", file=sys.stderr)
            raise
        else:
            store.close(remove=True)
        finally:
            store.close()


def _inspected(
    store: Store, shard_set: ShardSet, out: Path, rank: int, examples: int, seed: int, processes: int | None
) -> Inspected:
    """Read a folder, draw its pictures, and store the findings that concern all of it."""
    from lasagna.datamodules.inspection.counts_figure import draw_counts  # matplotlib is slow to import

    chosen = choose_examples(shard_set, examples, seed)
    folder = read_folder(store, shard_set, chosen, processes)
    store.index()
    counts, picture, sheet = store.counts(folder), out / f"counts-{rank}.png", out / f"examples-{rank}.jpg"
    whole = [*audit_tally(shard_set.tally), *audit_names(shard_set.manifest, counts)]
    store.note(folder, chain(store.doubled(folder), whole))
    drawn = draw_examples(shard_set, chosen, store.examples(folder), examples, seed)
    with writing(out):
        draw_counts(counts, picture)
        if drawn is not None:
            drawn.save(sheet, quality=QUALITY)
    findings = StoredFindings(store, folder)
    return Inspected(shard_set, counts, findings, picture.name, None if drawn is None else sheet.name)


def _write(folders: Sequence[Inspected], shared: StoredFindings, out: Path) -> None:
    page = to_page("Inspection of shards", to_markdown(folders, shared), folder=out)
    write_text(out / PAGE, page)
    content = {str(one.shard_set.folder): _as_json(one.survey, one.findings) for one in folders}
    report = {"folders": content, "shared": _places(shared)}
    with whole_file(out / NUMBERS) as draft, draft.open("w", encoding="utf-8") as stream:
        json.dump(report, stream, indent=1, ensure_ascii=False)
        stream.write("\n")


def _report(out: Path, counts: Mapping[str, int], strict: bool) -> None:
    lines = [f"{kind}: {counts[kind]} ({meaning})" for kind, meaning in MEANINGS.items() if kind in counts]
    lines = lines or ["nothing found"]
    if strict and set(counts) - set(NOTES):
        raise ShardError("\n".join(["shards: the inspection found", *lines, f"see {out / PAGE}"]))
    Console().print("\n".join([*lines, f"written to {out / PAGE}"]), markup=False, highlight=False, soft_wrap=True)


def _as_json(found: Survey, findings: StoredFindings) -> dict[str, object]:
    return {
        "records": found.records,
        "sizes": {f"{width}x{height}": count for (height, width), count in found.sizes.most_common()},
        "categories": {name: {"images": n, "pixels": found.pixels[name]} for name, n in found.images.most_common()},
        "present_categories": dict(sorted(found.entries.items())),
        "annotations": dict(found.annotations),
        "findings": _places(findings),
    }


def _places(findings: StoredFindings) -> dict[str, list[str]]:
    return {kind: _Places(findings, kind) for kind in findings.totals()}


class _Places(list[str]):
    """All places of a kind of findings, which JSON is written from one by one."""

    def __init__(self, findings: StoredFindings, kind: str) -> None:
        super().__init__()
        self.findings = findings
        self.kind = kind

    def __len__(self) -> int:
        return self.findings.number(self.kind)

    def __iter__(self) -> Iterator[str]:
        return self.findings.places(self.kind)
