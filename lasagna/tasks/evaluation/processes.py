"""An evaluation by processes that a launcher such as ``torchrun`` started; they meet in the folder alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from time import monotonic, sleep
from typing import Any

import torch

from lasagna.core.locks import locked
from lasagna.datamodules.shards.codec import record_key
from lasagna.datamodules.shards.reader import ShardSplit
from lasagna.errors import LasagnaError
from lasagna.tasks.evaluation.answering import Job, answer_all, header_of, own_device
from lasagna.tasks.evaluation.predictions import HEADER, Place, begin, check_free, join, predictions_files, read_lines
from lasagna.tasks.evaluation.runs import EvaluationRun

PATIENCE = 1800.0
"""Seconds without any new answer after which the others are given up."""

_PAUSE = 0.5


def answer_first(job: Job, processes: int) -> dict[str, Any]:
    """Begin an evaluation, answer the first part and wait for the others; return the header.

    Args:
        job: The evaluation.
        processes: How many processes were started.

    Raises:
        LasagnaError: If another evaluation is at it, or the others ended before their parts were answered.
    """
    job = _shared(job, processes)
    passes, _ = job.passes()
    assistant = job.assistant()
    header = header_of(job, passes, assistant)
    job.out.mkdir(parents=True, exist_ok=True)
    with locked(job.out):
        check_free(job.out, first=processes)
        begin(job.out, header)
        answer_all(job, assistant)
        _wait_for_answers(job, passes)
    return header


def answer_further(job: Job, share: ShardSplit) -> dict[str, Any]:
    """Answer a part of an evaluation that the first process begins; return the header.

    Args:
        job: The evaluation.
        share: The part, not the first.

    Raises:
        LasagnaError: If the first process begins none, or another one.
    """
    job = _shared(job, share.parts)
    assistant = job.assistant()
    # shards that the data writes are there when the first process has begun
    _wait((job.out / HEADER).is_file, lambda: None, lambda: f"process 0 of {share.parts} has not begun in {job.out}")
    header = header_of(job, job.passes()[0], assistant)
    join(job.out, header)
    answer_all(job, assistant, part=share.part)
    return header


def _shared(job: Job, processes: int) -> Job:
    return replace(job, processes=processes, device=own_device(job.device, int(os.environ.get("LOCAL_RANK", "0"))))


def _wait_for_answers(job: Job, passes: Sequence[EvaluationRun]) -> None:
    """Wait until all records have answers, whoever gives them."""
    awaited = _missing(job, passes)

    def sizes() -> list[int]:
        return [file.stat().st_size for file in predictions_files(job.out)]

    seen: list[int] = []

    def complete() -> bool:
        nonlocal seen
        if (now := sizes()) != seen:
            seen = now
            awaited.difference_update(read_lines(job.out))
        return not awaited

    _wait(complete, sizes, lambda: f"{len(awaited)} records of other processes have no answers in {job.out}")


def _missing(job: Job, passes: Sequence[EvaluationRun]) -> set[Place]:
    done: Collection[Place] = read_lines(job.out)
    return {
        (one.name, record_key(raw))
        for one in passes
        for raw in one.raw()
        if (one.name, record_key(raw)) not in done and one.ask(raw) is not None
    }


def _wait(ready: Callable[[], bool], progress: Callable[[], object], problem: Callable[[], str]) -> None:
    last, since = progress(), monotonic()
    while not ready():
        if (now := progress()) != last:
            last, since = now, monotonic()
        if monotonic() - since > PATIENCE:
            raise LasagnaError(
                f"{problem()}, and nothing new came for {PATIENCE / 60:.0f} minutes; the folder has to be the same for "
                "all processes: look at what the others say, and give the same command again, and it goes on"
            )
        sleep(_PAUSE)


def end_with_parent() -> None:
    """End this process at once when its parent has ended; for the beginning of a worker of ``multiprocessing``."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_watch, args=(parent.sentinel,), name="parent-watch", daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    # nobody is left to take an exception, and other threads may be in the middle of a computation
    os._exit(1)


def answer_together(job: Job, processes: int) -> int:
    """Answer what has no answer yet; return how many records were answered.

    Each process loads the model and takes every so-many-th record; on several GPUs each takes one. What was answered
    before a fault stays. The processes end with this one, however it ends.

    Args:
        job: The evaluation.
        processes: How many processes.

    Raises:
        LasagnaError: If a process ended without a word, e.g. for want of memory; other faults as they are.
    """
    shared = replace(job, processes=processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=end_with_parent) as pool:
        futures = [pool.submit(_part, shared, part, torch.get_num_threads()) for part in range(processes)]
        try:
            return sum(future.result() for future in futures)
        except BrokenProcessPool as error:
            raise LasagnaError(
                f"processes: one of {processes} was ended from outside, perhaps for want of memory; give the same "
                "command with fewer, and it goes on"
            ) from error


def _part(job: Job, part: int, threads: int) -> int:
    torch.set_num_threads(max(1, threads // job.processes))
    return answer_all(replace(job, device=own_device(job.device, part)), part=part)
