"""An evaluation by processes that a launcher such as ``torchrun`` started; they meet in the folder alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

from lasagna.core.locks import locked
from lasagna.datamodules.shards.codec import record_key
from lasagna.datamodules.shards.reader import Share
from lasagna.errors import LasagnaError
from lasagna.evaluating.answering import Job, answer_all, own_device
from lasagna.evaluating.header import header_of
from lasagna.evaluating.part_lock import check_free
from lasagna.evaluating.passes import Pass
from lasagna.evaluating.predictions import HEADER, Place, begin, join, predictions_files, read_lines

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


def answer_further(job: Job, share: Share) -> dict[str, Any]:
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


def _wait_for_answers(job: Job, passes: Sequence[Pass]) -> None:
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


def _missing(job: Job, passes: Sequence[Pass]) -> set[Place]:
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
