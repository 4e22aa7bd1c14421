"""Write the results of runs into the pages, between markers, so that no number is copied by hand.

``python docs/results.py`` rewrites, in README.md and the pages of this folder, each block

    <!-- results:NAME QUANTITY ... -->
    <!-- /results -->

with a table of ``docs/results/NAME.csv`` (written by ``lasagna report``) or else ``docs/results/NAME.json`` (a run's
``scores.json``), followed by the machine and versions of the JSON file. Quantities choose and order the scores; without
any, all are shown. A block between ``<!-- claims:NAME -->`` and ``<!-- /claims -->`` gets the verdicts of
``docs/results/NAME_report.md``. A block between ``<!-- summary -->`` and ``<!-- /summary -->`` gets the rows of
``SUMMARY``: the short table of the README. A block between ``<!-- speed:NAME -->`` and ``<!-- /speed -->`` gets the
table of a benchmark from ``docs/results/NAME.json``: how long each command takes to start (``startup``), what a server
does (``serve``), or how fast folders are answered (``predict``). A block between ``<!-- figures:NAME -->`` and
``<!-- /figures -->`` gets the rows of a benchmark's ``docs/results/NAME.json``, in the columns of ``FIGURES``.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lasagna.tasks.metrics import QUANTITIES
from lasagna.tasks.metrics.names import ARROWS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"

_BLOCK = re.compile(
    r"(?P<head><!-- results:(?P<name>\w+)(?P<quantities>[ \w]*) -->\n).*?(?P<tail><!-- /results -->)", re.S
)

SUMMARY = (
    ("drawn scenes, all 24 names", "default", "scenes-semantic"),
    ("CamVid, 11 classes and 9 borrowed names", "camvid", "val"),
    ("CamVid, crops that make classes absent", "camvid", "crops"),
    ("CamVid, a drive held out, with borrowed names", "camvid", "held_out_borrowed"),
    ("CamVid, trained together with COCO", "photos", "camvid"),
    ("COCO, 24 of 133 names, 308 training photographs", "photos", "coco"),
)
"""What the README's table has a row for: its text, the file in ``docs/results``, and the source of the scores."""

_SUMMARY_COLUMNS = {"miou": "mIoU ↑", "presence_f1": "presence F1 ↑", "false_positive_rate": "false-positive rate ↓"}
_SUMMARY = re.compile(r"(?P<head><!-- summary -->\n).*?(?P<tail><!-- /summary -->)", re.S)
_CLAIMS = re.compile(r"(?P<head><!-- claims:(?P<name>\w+) -->\n).*?(?P<tail><!-- /claims -->)", re.S)
_SPEED = re.compile(r"(?P<head><!-- speed:(?P<name>\w+) -->\n).*?(?P<tail><!-- /speed -->)", re.S)

_COLUMNS = {"free": "decoded freely", "one-pass": "in one pass"}
"""Part of a score's name that says how answers were decoded, to the head of its column."""

FIGURES = {
    "real_size": {
        "case": "assistant",
        "million_parameters": "million parameters",
        "million_trained": "million trained",
        "planned_gib": "planned, GiB",
        "measured_gib": "measured, GiB",
        "answer_gib": "answer, GiB",
        "said": "did not fit",
    },
    "gpu": {"what": "part", "found": "result"},
}
"""Columns of a benchmark's table: keys of its rows, and their headings."""
_FIGURES = re.compile(r"(?P<head><!-- figures:(?P<name>\w+) -->\n).*?(?P<tail><!-- /figures -->)", re.S)

LEFT = ("asked of", "score", "start of", "assistant", "part", "result", "did not fit", "requests")
"""Headings of columns of text."""

Rows = list[dict[str, str]]


def main() -> None:
    """Rewrite the blocks of all pages."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        filled = fill(text)
        if filled != text:
            page.write_text(filled, encoding="utf-8")
            print(f"rewrote {page.relative_to(ROOT)}")


def pages() -> list[Path]:
    """Return the pages that may have blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fill(text: str, folder: Path = RESULTS) -> str:
    """Return a page with its blocks rewritten.

    Args:
        text: The page.
        folder: Where the results are.
    """
    text = _SUMMARY.sub(lambda block: block["head"] + summary(folder) + block["tail"], text)
    text = _CLAIMS.sub(lambda block: block["head"] + claims(folder, block["name"]) + block["tail"], text)
    text = _SPEED.sub(lambda block: block["head"] + speed(folder, block["name"]) + block["tail"], text)
    text = _FIGURES.sub(lambda block: block["head"] + figures(folder, block["name"]) + block["tail"], text)
    return _BLOCK.sub(
        lambda block: block["head"] + render(folder, block["name"], block["quantities"].split()) + block["tail"], text
    )


def summary(folder: Path) -> str:
    """Return the README's table: one row for each entry of ``SUMMARY``.

    Args:
        folder: Where the results are.
    """
    rows = []
    for text, name, source in SUMMARY:
        scores = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["stages"]["test"]["scores"]
        numbers = {
            label: _number(scores[f"test/{source}/{quantity}/lasagna-v1"])
            for quantity, label in _SUMMARY_COLUMNS.items()
        }
        rows.append({"asked of": text, **numbers})
    return _markdown(rows)


def speed(folder: Path, name: str) -> str:
    """Return the table of a benchmark.

    Args:
        folder: Where the results are.
        name: Name of the file, without extension.
    """
    tables = {"startup": _starts, "serve": _served, "predict": _predicted}
    if not (folder / f"{name}.json").is_file():
        return f"No run has been filed under `docs/results/{name}.json` yet.\n"
    content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    notes = (
        [f"On {content['cores']} cores; load of the machine before: {content['load_before']:.0f}."]
        if "load_before" in content
        else []
    )
    if "kept" in content:
        kept, sent = content["kept"]["one_picture_ten_times"], content["kept"]["ten_pictures"]
        memory = [f"{mib:.0f} MiB after {count} requests" for count, mib in content["memory_mib"].items()]
        notes += [f"Ten requests take {kept:.1f} s about one picture that is kept, {sent:.1f} s with a picture each."]
        notes += [f"Memory of the process: {', '.join(memory)}."]
    return _markdown(tables[name](content)) + ("\n" + " ".join(notes) + "\n" if notes else "")


def _starts(content: Mapping[str, Any]) -> Rows:
    found, unit = content["starts"], content["starts"]["import torch"]["cpu_seconds"]
    return [
        {
            "start of": f"`{name}`",
            "processor time in s": f"{times['cpu_seconds']:.2f}",
            "times `import torch`": f"{times['cpu_seconds'] / unit:.2f}",
        }
        for name, times in sorted(found.items(), key=lambda item: item[1]["cpu_seconds"])
    ]


def _served(content: Mapping[str, Any]) -> Rows:
    return [
        {"clients": clients, "requests": "together" if way == "batched" else "one by one"}
        | {"requests a second": f"{times['requests_per_second']:.1f}"}
        | {f"{part} in ms": f"{times[part + '_ms']:.0f}" for part in ("p50", "p95")}
        for clients, ways in sorted(content["clients"].items(), key=lambda item: int(item[0]))
        for way, times in ways.items()
    ]


def _predicted(content: Mapping[str, Any]) -> Rows:
    columns = {"images a second, in turn": "loop", "`lasagna predict`": "command", "ratio": "ratio"}
    return [
        {"names": names}
        | {label: f"{found[key]:.1f}" for label, key in columns.items()}
        | {"ratio of processor time": f"{found['cpu_ratio']:.1f}"}
        for names, found in sorted(content["names"].items(), key=lambda item: int(item[0]))
    ]


def figures(folder: Path, name: str) -> str:
    """Return the table of a benchmark.

    Args:
        folder: Where the results are.
        name: Name of the file, without ``.json``; one of ``FIGURES``.
    """
    file, columns = folder / f"{name}.json", FIGURES[name]
    if not file.is_file():
        return f"Nothing has been filed under `docs/results/{name}.json` yet.\n"
    found = json.loads(file.read_text(encoding="utf-8"))["rows"]
    shown = {key: title for key, title in columns.items() if any(key in row for row in found)}
    return _markdown([{title: str(row.get(key, "")) for key, title in shown.items()} for row in found])


def claims(folder: Path, name: str) -> str:
    """Return what a report says of the claims, as a list.

    Args:
        folder: Where the results are.
        name: Name of the report, without ``_report.md``.

    Raises:
        ValueError: If the report has no claims.
    """
    file = folder / f"{name}_report.md"
    if not file.is_file():
        return f"No report has been filed under `docs/results/{name}_report.md` yet.\n"
    section = re.search(r"^## Claims\n\n((?:- .*\n)+)", file.read_text(encoding="utf-8"), re.M)
    if section is None:
        raise ValueError(
            f"claims:{name}: {file.name} has no section of claims; give `lasagna sweep` a baseline and claims"
        )
    return section[1]


def render(folder: Path, name: str, quantities: Sequence[str] = ()) -> str:
    """Return the content of a block.

    Args:
        folder: Where the results are.
        name: Name of the files, without extension.
        quantities: Which scores, in which order; none for all.

    Raises:
        ValueError: If a quantity is unknown.
    """
    unknown = sorted(set(quantities) - QUANTITIES.keys())
    if unknown:
        raise ValueError(f"results:{name}: {unknown} are not among the quantities {sorted(QUANTITIES)}")
    report, run = folder / f"{name}.csv", folder / f"{name}.json"
    parts = []
    if report.is_file():
        parts.append(report_table(report, quantities))
    if run.is_file():
        content = json.loads(run.read_text(encoding="utf-8"))
        parts += [] if parts else [run_table(content["stages"]["test"]["scores"], quantities)]
        parts.append(facts(content))
    return "\n".join(parts or [f"No run has been filed under `docs/results/{name}` yet.\n"])


def run_table(scores: Mapping[str, float | None], quantities: Sequence[str] = ()) -> str:
    """Return the scores of a test as a Markdown table, one row a score, the ways of decoding side by side.

    Args:
        scores: Score by its name, stage/source/quantity/protocol[/free or /one-pass][/part].
        quantities: Which quantities, in which order; none for all.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name, value in scores.items():
        source, key = _split(name)
        pieces = key.split("/")
        decoding = next((way for way in _COLUMNS if way in pieces[2:]), "ordered")
        plain = "/".join(piece for rank, piece in enumerate(pieces) if rank < 2 or piece != decoding)
        cells.setdefault((source, plain), {})[decoding] = "-" if value is None else _number(value)
    used = [way for way in _COLUMNS if any(way in row for row in cells.values())]
    rows = [
        {"asked of": source, "score": _scored(key), "value": row.get("ordered", "")}
        | {_COLUMNS[way]: row.get(way, "") for way in used}
        for (source, key), row in _chosen(cells, quantities)
    ]
    return _markdown(rows)


def report_table(file: Path, quantities: Sequence[str] = ()) -> str:
    """Return a report as a Markdown table, one row a score, one column a variant.

    Args:
        file: The CSV.
        quantities: Which quantities, in which order; none for all.
    """
    cells: dict[tuple[str, str], dict[str, str]] = {}
    variants: dict[str, None] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            width = f" ± {_number(float(line['half_width']))}" if line["half_width"] else ""
            cells.setdefault(_split(line["score"]), {})[line["variant"]] = (
                f"{_number(float(line['mean']))}{width} ({line['runs']})"
            )
            variants[line["variant"]] = None
    rows = [
        {"asked of": source, "score": _scored(key)} | {variant: row.get(variant, "") for variant in sorted(variants)}
        for (source, key), row in _chosen(cells, quantities)
    ]
    return _markdown(rows) + "\nMean ± half width of the t-interval over seeds (number of runs).\n"


def facts(content: Mapping[str, Any]) -> str:
    """Say how long a run took, and on which machine, with which seeds and versions."""
    stages, machine, versions = content["stages"], content["machine"], content["versions"]
    times = [
        f"{doing} took {stages[stage]['seconds'] / 60:.1f} minutes"
        for stage, doing in (("fit", f"training ({stages.get('fit', {}).get('steps')} steps)"), ("test", "the test"))
        if stage in stages
    ]
    place = f"{machine['system']} {machine['architecture']}, {machine['cores']} cores, {machine['torch_threads']} torch"
    place += f" threads, {machine['devices']} x {machine['device']}, precision {machine['precision']}"
    brought = ", ".join(
        f"{name} {versions[name]}" for name in ("lasagna", "python", "torch", "lightning", "transformers")
    )
    spent, seed = " and ".join(times), content["seeds"]["everything"]
    if "command" in content:
        command = content["command"]
        spent += f"; the whole command, `{command['line']}`, took {command['seconds'] / 60:.1f} minutes"
    return f"{spent[:1].upper()}{spent[1:]}. Machine: {place}. Seed {seed}. Versions: {brought}.\n"


def _chosen(
    cells: Mapping[tuple[str, str], dict[str, str]], quantities: Sequence[str]
) -> list[tuple[tuple[str, str], dict[str, str]]]:
    """Return the rows of the quantities that are wanted, source by source in the order found."""
    sources = list(dict.fromkeys(source for source, _ in cells))
    order = list(quantities) or list(QUANTITIES)
    rows = [(key, row) for key, row in cells.items() if not quantities or _quantity(key[1]) in quantities]
    return sorted(rows, key=lambda row: (sources.index(row[0][0]), order.index(_quantity(row[0][1]))))


def _split(name: str) -> tuple[str, str]:
    """Split a score's full name into its source and its key."""
    pieces = name.split("/")
    place = next(rank for rank, piece in enumerate(pieces) if piece in QUANTITIES)
    return "/".join(pieces[1:place]), "/".join(pieces[place:])


def _quantity(key: str) -> str:
    return key.split("/", 1)[0]


def _scored(key: str) -> str:
    return f"`{key}` {ARROWS[QUANTITIES[_quantity(key)].higher_is_better]}".rstrip()


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _markdown(rows: Rows) -> str:
    if not rows:
        return "There are no such scores.\n"
    names = list(rows[0])
    right = [name not in LEFT for name in names]
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---:" if end else "---" for end in right) + " |"]
    lines += ["| " + " | ".join(row[name] for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
