"""Worker processes that end with the process that started them, however it ends."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import Any, TypeVar

from lasagna.errors import LasagnaError

Task = TypeVar("Task")
Made = TypeVar("Made")

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
    """Do the same, and leave Ctrl-C and SIGTERM to the parent, which terminals and schedulers send to all processes.

    A training that is stopped needs its loader's workers until the step is done. SIGTERM of the parent ends them.

    Args:
        worker: Number of the worker, which torch passes.
    """
    parent = parent_process()
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if hasattr(signal, "sigwaitinfo"):
            # blocked in this thread and in those that it starts, so that the thread that waits gets the signal
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            # the process that started this one, which for a fork server is not that of the system
            Thread(target=_end_at_sigterm_of, args=(parent.pid,), name="sigterm", daemon=True).start()
    end_with_parent(worker)


def serve_pool() -> None:
    """Do the same for a worker of a pool, which its parent ends by SIGTERM.

    A forked worker would have its parent's way to deal with that signal, and might go on.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


@contextmanager
def worker_pool(
    processes: int, start: Callable[..., None] = serve_pool, arguments: tuple[Any, ...] = (), method: str | None = None
) -> Iterator[Executor]:
    """Start processes that work for this one and end with the context, also in the middle of their work.

    Args:
        processes: Number of processes.
        start: Called in each process before its work.
        arguments: Arguments of ``start``.
        method: How processes are started, as ``multiprocessing`` calls it; "spawn" where torch has threads.

    Yields:
        What takes the work.

    Raises:
        LasagnaError: If a process was killed, e.g. because memory ran out; ``multiprocessing.Pool`` waits forever then.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(processes, get_context(method), initializer=start, initargs=arguments)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise LasagnaError(
            f"processes: one of {processes} was killed, perhaps because memory ran out; repeat the command with fewer "
            "processes to go on"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - others:
            child.terminate()
            child.join()


def made_in_order(pool: Executor, make: Callable[[Task], Made], tasks: Iterable[Task], ahead: int) -> Iterator[Made]:
    """Yield what a pool makes of tasks, in their order.

    Args:
        pool: The pool.
        make: Makes one; must be picklable.
        tasks: What to make them of, taken only as needed.
        ahead: Most tasks that are in work or wait to be taken, since what takes them may be slower.
    """
    left = iter(tasks)
    waiting = deque(pool.submit(make, task) for task in islice(left, ahead))
    while waiting:
        made = waiting.popleft().result()
        waiting.extend(pool.submit(make, task) for task in islice(left, 1))
        yield made


def _end_at_sigterm_of(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _watch(sentinel: int, parent: int) -> None:
    # a forked worker inherits the ends of its siblings' pipes, so that the sentinel alone may stay silent
    while not wait([sentinel], timeout=_PAUSE) and os.getppid() == parent:
        pass
    # no one is left to catch an exception, and other threads may be computing
    os._exit(1)
