"""What is said when a job is stopped by Ctrl-C or SIGTERM."""

from __future__ import annotations

import sys
from signal import Signals

from lightning import Trainer

from lasagna.job_checkpoint import EVALUATIONS, newest_checkpoint

SIGNALLED = 128
"""What shells add to a signal's number for the exit status."""


def stopped(job: str, trainer: Trainer, signal: Signals) -> int:
    """Say how to go on, and return the exit status.

    Args:
        job: The job.
        trainer: Its trainer, which knows the step and the run's folder.
        signal: What stopped it.
    """
    print(f"stopped{'' if job in EVALUATIONS else _way_on(trainer)}", file=sys.stderr)
    return SIGNALLED + signal


def interrupted(fault: BaseException) -> bool:
    """Say whether something was raised because of Ctrl-C."""
    cause: BaseException | None = fault
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None


def _way_on(trainer: Trainer) -> str:
    newest = newest_checkpoint(trainer)
    if newest is None:
        return f" at step {trainer.global_step}, before the first checkpoint"
    return f" at step {trainer.global_step}: go on by the same command with --ckpt_path last ({newest})"
