"""Execution of a sweep, one process per run. It can be stopped and resumed, and a failed run does not stop it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lasagna.cli.sweeps.findings import Claim
from lasagna.cli.sweeps.plan import MARKER, Run, SweepError, SweepPlan
from lasagna.cli.sweeps.report import report
from lasagna.core.locks import BusyError, call, locked

__all__ = ["RunResult", "SweepError", "SweepPlan", "run_sweep", "sweep"]

LOG = "log.txt"


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run.

    Args:
        run: The run.
        status: Finished now, finished earlier and skipped, failed, or busy because another process is running it.
        seconds: Time that it took now, in seconds.
    """

    run: Run
    status: Literal["finished", "skipped", "failed", "busy"]
    seconds: float = 0.0


def sweep(
    base: list[str],
    out: Path = Path("runs/sweep"),
    variants: dict[str, list[str]] | None = None,
    grid: dict[str, list[Any]] | None = None,
    seeds: list[int] | None = None,
    script: str = "train.py",
    baseline: str | None = None,
    claims: list[Claim] | None = None,
) -> None:
    """Run a grid of config values and seeds, one process per run; with a baseline, also write the report.

    Started again, it skips finished runs and resumes interrupted ones from their last checkpoint.

    Args:
        base: Config files of every run.
        out: Folder of the sweep; each run gets ``<variant>/seed_<n>`` in it.
        variants: Name of each variant to its further config files.
        grid: Config key to values, e.g. ``{"model.init_args.optimiser.lr": [1e-4, 3e-4]}``; every combination is run.
        seeds: Seeds of each combination; by default only 0.
        script: Script that starts a run.
        baseline: Variant that the report compares the others with; by default no report is written.
        claims: Expected differences of variants from the baseline; the report says which ones hold.

    Raises:
        SweepError: If the sweep cannot start, or if runs failed.
    """
    if baseline is not None and baseline not in (variants or {}):
        raise SweepError(f"baseline: expected one of the variants {sorted(variants or {})}, got {baseline!r}")
    plan = SweepPlan(base, variants or {"base": []}, grid or {}, [0] if seeds is None else seeds, script)
    results = run_sweep(plan, out)
    failed = [result.run for result in results if result.status == "failed"]
    busy = [result.run.name for result in results if result.status == "busy"]
    if failed:
        logs = ", ".join(str(run.folder / LOG) for run in failed)
        raise SweepError(f"sweep: {len(failed)} runs failed; the reasons are at the end of {logs}")
    if busy:
        raise SweepError(f"sweep: other processes are still running {busy}; start again when they have ended")
    if baseline is not None:
        report(out, baseline=baseline, claims=claims)


def run_sweep(plan: SweepPlan, out: Path) -> list[RunResult]:
    """Run all unfinished runs of a plan, and print a summary.

    Args:
        plan: The plan.
        out: Folder of the sweep.

    Returns:
        The outcome of each run.

    Raises:
        SweepError: If files are missing, or if runs in the folder had other settings.
        KeyboardInterrupt: After Ctrl-C, once the run's process has ended; the run can be resumed.
    """
    plan.check()
    runs = plan.runs(out)
    _check_folders(runs, plan)
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results = []
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("sweep", total=len(runs))
            for run in runs:
                progress.update(bar, description=run.name)
                results.append(_try(run, plan, progress.console))
                progress.advance(bar)
    except KeyboardInterrupt:
        console.print("stopped; start again to resume")
        raise
    finally:
        _print_summary(results, console)
    return results


def _check_folders(runs: Sequence[Run], plan: SweepPlan) -> None:
    folders = [run.folder for run in runs]
    doubled = sorted({str(folder) for folder in folders if folders.count(folder) > 1})
    if doubled:
        raise SweepError(f"sweep: several runs would share the folders {doubled}; list each variant and value once")
    other = []
    for run in runs:
        marker = read_marker(run.folder)
        # through JSON, as the marker was
        if marker and marker.get("settings") != json.loads(json.dumps(run.settings(plan))):
            other.append(run.name)
    if other:
        raise SweepError(
            f"sweep: {runs[0].out} has runs with other settings under the same names: {other}; "
            "choose another --out, or delete those folders"
        )


def read_marker(folder: Path) -> dict[str, Any] | None:
    """Return the state of a run as its sweep stored it, or None if there is none.

    Args:
        folder: Folder of the run.

    Raises:
        SweepError: If the file cannot be read.
    """
    file = folder / MARKER
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SweepError(f"sweep: {file} cannot be read ({error}); delete the folder to start the run again") from error
    return content if isinstance(content, dict) else {}


def _write_marker(run: Run, plan: SweepPlan, status: str, done: Sequence[str]) -> None:
    content = {"variant": run.variant, "status": status, "done": list(done), "settings": run.settings(plan)}
    draft = run.folder / (MARKER + ".part")
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draft.replace(run.folder / MARKER)


def _try(run: Run, plan: SweepPlan, console: Console) -> RunResult:
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(run.folder) as lock:
            return _do(run, plan, console, lock)
    except BusyError as error:
        console.print(f"{run.name}: {error}", style="red", highlight=False, soft_wrap=True)
        return RunResult(run, "busy")


def _do(run: Run, plan: SweepPlan, console: Console, lock: tuple[int, ...]) -> RunResult:
    marker = read_marker(run.folder) or {}
    if marker.get("status") == "finished":
        console.print(f"{run.name}: finished earlier, skipped", highlight=False)
        return RunResult(run, "skipped")
    start = time.monotonic()
    done = [str(part) for part in marker.get("done", [])]
    for subcommand in [name for name in plan.subcommands if name not in done]:
        _write_marker(run, plan, "running", done)
        try:
            error = _attempt(run, plan, subcommand, console, lock)
        except KeyboardInterrupt:
            _write_marker(run, plan, "stopped", done)
            raise
        if error:
            _write_marker(run, plan, "failed", done)
            console.print(f"{run.name}: {subcommand} failed: {error}", style="red", highlight=False, soft_wrap=True)
            return RunResult(run, "failed", time.monotonic() - start)
        done.append(subcommand)
    _write_marker(run, plan, "finished", done)
    return RunResult(run, "finished", time.monotonic() - start)


def _attempt(run: Run, plan: SweepPlan, subcommand: str, console: Console, lock: tuple[int, ...]) -> str:
    """Run one subcommand; return what went wrong, or an empty text."""
    command = [sys.executable, plan.script, subcommand, *run.arguments(plan)]
    checkpoint = run.folder / plan.checkpoint
    if subcommand == plan.subcommands[0]:
        begin = f"resumes from {checkpoint}" if checkpoint.is_file() else "starts"
        console.print(f"{run.name}: {begin}", highlight=False, soft_wrap=True)
    elif not checkpoint.is_file():
        return f"{plan.subcommands[0]} left no {checkpoint}"
    if checkpoint.is_file():
        command.append(f"--ckpt_path={checkpoint}")
    return "" if call(command, run.folder / LOG, lock) == 0 else f"see {run.folder / LOG}"


def _print_summary(results: Sequence[RunResult], console: Console) -> None:
    table = Table(title="sweep", title_justify="left")
    for name in ("run", "status", "minutes"):
        table.add_column(name, justify="right" if name == "minutes" else "left")
    for result in results:
        table.add_row(result.run.name, result.status, f"{result.seconds / 60:.1f}" if result.seconds else "")
    console.print(table)
