"""Worker processes that end with the process that started them, however it ends."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from multiprocessing.connection import wait
from signal import SIG_DFL, SIG_IGN, SIGINT, SIGTERM, signal
from threading import Thread

_PAUSE = 0.5
"""Seconds between two looks at the parent."""


def usable_cores() -> int:
    """Return the number of cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_with_parent(worker: int = 0) -> None:
    """End this process soon after its parent has ended; an initializer for workers of ``multiprocessing`` and torch.

    A worker that waits for room in a queue never looks for its parent itself, and keeps its memory.

    Args:
        worker: Number of the worker, which torch passes.
    """
    parent = parent_process()
    if parent is not None:
        Thread(target=_watch, args=(parent.sentinel, os.getppid()), name="parent-watch", daemon=True).start()


def serve_parent(worker: int = 0) -> None:
    """Do the same, and leave Ctrl-C, which a terminal sends to all processes, to the parent.

    A training that is stopped needs its loader's workers until the step is done.

    Args:
        worker: Number of the worker, which torch passes.
    """
    if parent_process() is not None:
        signal(SIGINT, SIG_IGN)
    end_with_parent(worker)


def serve_pool() -> None:
    """Do the same for a worker of a pool, which its parent ends by SIGTERM.

    A forked worker would have its parent's way to deal with that signal, and might go on.
    """
    signal(SIGTERM, SIG_DFL)
    serve_parent()


def _watch(sentinel: int, parent: int) -> None:
    # a forked worker inherits the ends of its siblings' pipes, so that the sentinel alone may stay silent
    while not wait([sentinel], timeout=_PAUSE) and os.getppid() == parent:
        pass
    # no one is left to catch an exception, and other threads may be computing
    os._exit(1)
