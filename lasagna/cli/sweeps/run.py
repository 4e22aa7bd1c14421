"""Execution of a sweep, one process per run. It can be stopped, resumed and shared; a failed run does not stop it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from signal import SIGINT, SIGTERM, Signals
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from lasagna.cli.sweeps.devices import VISIBLE, command_number, device_shares, visible_devices
from lasagna.cli.sweeps.findings import Claim
from lasagna.cli.sweeps.plan import MARKER, GridValue, Run, SweepError, SweepPlan, check_configs
from lasagna.core.locks import BusyError, Terminated, call, locked, terminable
from lasagna.core.storage import check_output, write_json

__all__ = ["RunResult", "SweepError", "SweepPlan", "run_sweep", "sweep"]

LOG = "log.txt"

_POLL = 1.0


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run.

    Args:
        run: The run.
        status: Finished now, finished earlier or by another process and skipped, or failed.
        seconds: Time that it took now, in seconds.
    """

    run: Run
    status: Literal["finished", "skipped", "failed"]
    seconds: float = 0.0


def sweep(
    base: list[str] | None = None,
    out: Path = Path("runs/sweep"),
    variants: dict[str, list[str]] | None = None,
    grid: dict[str, list[GridValue]] | None = None,
    seeds: list[int] | None = None,
    script: str | None = None,
    baseline: str | None = None,
    claims: list[Claim] | None = None,
    jobs: int = 1,
) -> None:
    """Run a grid of config values and seeds, one process per run; with a baseline, also write the report.

    Started again, it skips finished runs and resumes interrupted ones from their last checkpoint. Started several times
    at once, the commands share the runs, each on a GPU of its own where there are several; each ends when all runs have
    ended.

    Args:
        base: Config files of every run; none where the variants have all.
        out: Folder of the sweep; each run gets ``<variant>/seed_<n>`` in it.
        variants: Name of each variant to its further config files.
        grid: Config key to values, e.g. ``{"model.init_args.optimiser.lr": [1e-4, 3e-4]}``; every combination is run.
        seeds: Seeds of each combination; by default only 0.
        script: Script that starts a run; by default the command ``lasagna train``, which needs no file.
        baseline: Variant that the report compares the others with; by default no report is written. With a grid, a
            variant is called by its name and values, e.g. ``full,lr=0.0003``.
        claims: Expected differences of variants from the baseline; the report says which ones hold.
        jobs: Number of runs at the same time; the visible GPUs are divided among them.

    Raises:
        SweepError: If the sweep cannot start, or if runs failed.
        SystemExit: After SIGTERM, once the runs' processes have ended.
    """
    plan = SweepPlan(base or [], variants or {"base": []}, grid or {}, [0] if seeds is None else seeds, script)
    check_output(out)
    plan.check()
    known = list(dict.fromkeys(run.variant for run in plan.runs(out)))
    if baseline is not None and baseline not in known:
        raise SweepError(f"baseline: expected one of the variants {known}, got {baseline!r}")
    try:
        with terminable():
            results = run_sweep(plan, out, jobs)
    except Terminated as stop:
        raise SystemExit(128 + SIGTERM) from stop
    failed = [result.run for result in results if result.status == "failed"]
    if failed:
        logs = ", ".join(str(run.folder / LOG) for run in failed)
        raise SweepError(f"sweep: {len(failed)} runs failed; the reasons are at the end of {logs}")
    if baseline is not None:
        # imports torch, which the runs need not wait for
        from lasagna.cli.sweeps.report import report

        try:
            with locked(out):
                report(out, baseline=baseline, claims=claims)
        except BusyError:
            print(f"another process is writing the report of {out}")


def run_sweep(plan: SweepPlan, out: Path, jobs: int = 1) -> list[RunResult]:
    """Run all unfinished runs of a plan, wait for those of other processes, and print a summary.

    Args:
        plan: The plan.
        out: Folder of the sweep.
        jobs: Number of runs at the same time.

    Returns:
        The outcome of each run.

    Raises:
        SweepError: If files are missing, a config is wrong, or runs in the folder had other settings.
        KeyboardInterrupt: After Ctrl-C or SIGTERM, once the runs' processes have ended; the runs can be resumed.
    """
    if jobs < 1:
        raise SweepError(f"jobs: expected 1 or more, got {jobs}")
    check_output(out)
    plan.check()
    runs = plan.runs(out)
    _check_folders(runs, plan)
    check_configs([run for run in runs if (read_marker(run.folder) or {}).get("status") != "finished"], plan)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    out.mkdir(parents=True, exist_ok=True)
    with command_number(out) as command, Progress(*columns, console=Console()) as progress:
        execution = _Execution(plan, progress)
        for share in device_shares(visible_devices() if jobs > 1 or command else [], jobs, command):
            execution.shares.put(share)
        try:
            execution.run_all(runs, jobs)
        except KeyboardInterrupt:
            progress.console.print("stopped; start again to resume")
            raise
        finally:
            progress.stop()
            _print_summary([execution.results[run.name] for run in runs if run.name in execution.results])
    return [execution.results[run.name] for run in runs]


@dataclass
class _Execution:
    """A sweep that is being run.

    Args:
        plan: The plan.
        progress: Its bar.
        results: Name of a run to its outcome.
        shares: Devices that no run uses at present.
        stops: Signals that were received.
        began: When it began, in seconds since the epoch.
    """

    plan: SweepPlan
    progress: Progress
    results: dict[str, RunResult] = field(default_factory=dict)
    shares: SimpleQueue[str | None] = field(default_factory=SimpleQueue)
    stops: list[Signals] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def run_all(self, runs: Sequence[Run], jobs: int) -> None:
        """Run what no other process runs, again and again until every run has ended."""
        bar, told = self.progress.add_task("sweep", total=len(runs)), False
        while left := [run for run in runs if run.name not in self.results]:
            with ThreadPoolExecutor(jobs) as pool:
                self._wait([pool.submit(self._take, run, bar) for run in left])
            busy = [run.name for run in left if run.name not in self.results]
            if len(busy) == len(left):
                if not told:
                    self.say(f"waiting for runs of other processes: {', '.join(busy)}")
                told = True
                time.sleep(_POLL)

    def _wait(self, futures: Sequence[Future[None]]) -> None:
        """Wait for threads; at a signal, let them end their runs, and let them kill these at the second one."""
        while not all(future.done() for future in futures):
            try:
                wait(futures)
            except KeyboardInterrupt as stop:
                self.stops.append(SIGTERM if isinstance(stop, Terminated) else SIGINT)
                for future in futures:
                    future.cancel()
        if self.stops:
            raise Terminated if self.stops[0] == SIGTERM else KeyboardInterrupt
        for future in futures:
            future.result()

    def _take(self, run: Run, bar: TaskID) -> None:
        share = self.shares.get()
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            with locked(run.folder) as lock:
                self.progress.update(bar, description=run.name)
                self.results[run.name] = self._do(run, lock, share)
                self.progress.advance(bar)
        except BusyError:
            pass  # another process is running it
        finally:
            self.shares.put(share)

    def _do(self, run: Run, lock: tuple[int, ...], share: str | None) -> RunResult:
        marker = read_marker(run.folder) or {}
        if marker.get("status") == "finished":
            self.say(f"{run.name}: finished earlier, skipped")
            return RunResult(run, "skipped")
        if marker.get("status") == "failed" and (run.folder / MARKER).stat().st_mtime >= self.began:
            self.say(f"{run.name}: failed in another process: see {run.folder / LOG}", "red")
            return RunResult(run, "failed")
        start = time.monotonic()
        done = [str(part) for part in marker.get("done", [])]
        for subcommand in [name for name in self.plan.subcommands if name not in done]:
            _write_marker(run, self.plan, "running", done)
            try:
                error = self._attempt(run, subcommand, lock, share)
            except KeyboardInterrupt:
                _write_marker(run, self.plan, "stopped", done)
                raise
            if error:
                _write_marker(run, self.plan, "failed", done)
                self.say(f"{run.name}: {subcommand} failed: {error}", "red")
                return RunResult(run, "failed", time.monotonic() - start)
            done.append(subcommand)
        _write_marker(run, self.plan, "finished", done)
        return RunResult(run, "finished", time.monotonic() - start)

    def _attempt(self, run: Run, subcommand: str, lock: tuple[int, ...], share: str | None) -> str:
        """Run one subcommand; return what went wrong, or an empty text."""
        command = [sys.executable, *self.plan.command, subcommand, *run.arguments(self.plan)]
        checkpoint = run.folder / self.plan.checkpoint
        if subcommand == self.plan.subcommands[0]:
            begin = f"resumes from {checkpoint}" if checkpoint.exists() else "starts"
            self.say(f"{run.name}: {begin}" + (f" on GPU {share}" if share else ""))
        elif not checkpoint.exists():
            return f"{self.plan.subcommands[0]} left no {checkpoint}"
        if checkpoint.exists():
            command.append(f"--ckpt_path={checkpoint}")
        environment = None if share is None else os.environ | {VISIBLE: share}
        status = call(command, run.folder / LOG, lock, environment, self.stops)
        return "" if status == 0 else f"see {run.folder / LOG}"

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line above the bar."""
        self.progress.console.print(text, style=style, highlight=False, soft_wrap=True)


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
    write_json(run.folder / MARKER, content, indent=2)


def _print_summary(results: Sequence[RunResult]) -> None:
    table = Table(title="sweep", title_justify="left")
    for name in ("run", "status", "minutes"):
        table.add_column(name, justify="right" if name == "minutes" else "left")
    for result in results:
        table.add_row(result.run.name, result.status, f"{result.seconds / 60:.1f}" if result.seconds else "")
    Console().print(table)
