"""Worker processes that do not outlive the process that started them, however that one ends."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from multiprocessing.connection import wait
from threading import Thread


def end_with_parent() -> None:
    """End this process at once when its parent has ended; for the beginning of a worker of ``multiprocessing``."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_watch, args=(parent.sentinel,), name="parent-watch", daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    # nobody is left to take an exception, and other threads may be in the middle of a computation
    os._exit(1)
