"""Several processes that share the records of an evaluation."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context

import torch

from lasagna.errors import LasagnaError
from lasagna.evaluating.answering import Job, answer_all, own_device
from lasagna.evaluating.parent_watch import end_with_parent


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
        except BrokenProcessPool as fault:
            raise LasagnaError(
                f"processes: one of {processes} was ended from outside, perhaps for want of memory; give the same "
                "command with fewer, and it goes on"
            ) from fault


def _part(job: Job, part: int, threads: int) -> int:
    torch.set_num_threads(max(1, threads // job.processes))
    return answer_all(replace(job, device=own_device(job.device, part)), part=part)
