"""Evaluation by several processes: those of a launcher such as ``torchrun``, which share only a folder, or its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from time import monotonic, sleep
from typing import Any

import torch

from lasagna.core.device import device_of_process
from lasagna.core.locks import locked
from lasagna.core.workers import end_with_parent
from lasagna.datamodules.shards.codec import record_key
from lasagna.datamodules.shards.reader import RawSample, ShardSplit
from lasagna.errors import LasagnaError, RecordError
from lasagna.tasks.evaluation.answering import Job, answer_all, header_of
from lasagna.tasks.evaluation.predictions import HEADER, begin, check_free, join, predictions_files, read_lines
from lasagna.tasks.evaluation.runs import EvaluationRun

PATIENCE = 1800.0
"""Seconds without any new answer after which the first process stops waiting for the others."""

_PAUSE = 0.5


def answer_first(job: Job, processes: int) -> dict[str, Any]:
    """Begin an evaluation, answer the first share of the records and wait for the others; return the header.

    Args:
        job: The evaluation.
        processes: How many processes were started.

    Raises:
        LasagnaError: If another evaluation is running, or the others stopped before their records were answered.
    """
    job = _shared(job, processes)
    runs, _ = job.runs()
    assistant = job.assistant()
    header = header_of(job, runs, assistant)
    job.out.mkdir(parents=True, exist_ok=True)
    with locked(job.out):
        check_free(job.out, first=processes)
        begin(job.out, header)
        answer_all(job, assistant)
        _wait_for_answers(job, runs)
    return header


def answer_further(job: Job, share: ShardSplit) -> dict[str, Any]:
    """Answer another share of an evaluation that the first process begins; return the header.

    Args:
        job: The evaluation.
        share: The share, not the first.

    Raises:
        LasagnaError: If the first process does not begin, or begins another evaluation.
    """
    job = _shared(job, share.parts)
    assistant = job.assistant()
    # the first process writes shards that do not exist yet before it begins
    _wait((job.out / HEADER).is_file, lambda: None, lambda: f"process 0 of {share.parts} has not begun in {job.out}")
    header = header_of(job, job.runs()[0], assistant)
    join(job.out, header)
    answer_all(job, assistant, part=share.part)
    return header


def _shared(job: Job, processes: int) -> Job:
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    return replace(job, processes=processes, device=device_of_process(job.device, rank))


def _wait_for_answers(job: Job, runs: Sequence[EvaluationRun]) -> None:
    """Wait until all records have answers, whichever process gives them."""
    done = set(read_lines(job.out))
    missing = {
        (run.name, record_key(raw))
        for run in runs
        for raw in run.raw()
        if (run.name, record_key(raw)) not in done and _is_asked(run, raw)
    }

    def sizes() -> list[int]:
        return [file.stat().st_size for file in predictions_files(job.out)]

    seen: list[int] = []

    def complete() -> bool:
        nonlocal seen
        if (now := sizes()) != seen:
            seen = now
            missing.difference_update(read_lines(job.out))
        return not missing

    _wait(complete, sizes, lambda: f"{len(missing)} records of other processes have no answers in {job.out}")


def _is_asked(run: EvaluationRun, raw: RawSample) -> bool:
    try:
        return run.ask(raw) is not None
    except RecordError as error:
        run.check_skipped(error)
        return False


def _wait(ready: Callable[[], bool], progress: Callable[[], object], problem: Callable[[], str]) -> None:
    last, since = progress(), monotonic()
    while not ready():
        if (now := progress()) != last:
            last, since = now, monotonic()
        if monotonic() - since > PATIENCE:
            raise LasagnaError(
                f"{problem()}, and there was nothing new for {PATIENCE / 60:.0f} minutes; all processes must use the "
                "same folder: see what the others report, and repeat the command to go on"
            )
        sleep(_PAUSE)


def answer_together(job: Job, processes: int) -> int:
    """Answer what has no answer yet in several processes; return how many records were answered.

    Each process loads the model and takes every n-th record, on several GPUs each on one of them. Answers that were
    stored before an error stay. The processes end with this one, however it ends.

    Args:
        job: The evaluation.
        processes: How many processes.

    Raises:
        LasagnaError: If a process was killed, e.g. because memory ran out; other errors are raised unchanged.
    """
    shared = replace(job, processes=processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=end_with_parent) as pool:
        futures = [pool.submit(_answer_part, shared, part, torch.get_num_threads()) for part in range(processes)]
        try:
            return sum(future.result() for future in futures)
        except BrokenProcessPool as error:
            raise LasagnaError(
                f"processes: one of {processes} was killed, perhaps because memory ran out; repeat the command with "
                "fewer processes to go on"
            ) from error


def _answer_part(job: Job, part: int, threads: int) -> int:
    torch.set_num_threads(max(1, threads // job.processes))
    return answer_all(replace(job, device=device_of_process(job.device, part)), part=part)
