"""Several processes that serve on one port, each with its own assistant; uvicorn starts and watches them."""

from __future__ import annotations

import logging
import os
import signal
import sys
from functools import partial
from multiprocessing import current_process, parent_process
from socket import socket
from threading import Thread
from typing import TYPE_CHECKING

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from lasagna.errors import LasagnaError
from lasagna.serving.server import ServerRecipe, server_config

if TYPE_CHECKING:
    from fastapi import FastAPI

_SECONDS = 30
"""Time in which a process must show that it lives; reading large weights may stop it for long."""


def run_workers(recipe: ServerRecipe, listening: socket) -> None:
    """Serve with several processes until Ctrl-C; one that ends is started again.

    Args:
        recipe: What each of them serves.
        listening: The open port.

    Raises:
        LasagnaError: If one cannot start; it has said why.
    """
    make = partial(worker_app, recipe)
    config = server_config(
        make, recipe.limits, factory=True, workers=recipe.workers, timeout_worker_healthcheck=_SECONDS
    )
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    supervisor = Multiprocess(config, [listening])
    supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise LasagnaError(f"workers: one of {recipe.workers} processes could not start; the reason stands above")


def worker_app(recipe: ServerRecipe) -> FastAPI:
    """Return the app of this process, which has its share of the threads; end it where that is not possible."""
    import torch

    Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(max(1, torch.get_num_threads() // recipe.workers))
    try:
        return recipe.app(current_process().name.rpartition("-")[2])
    except Exception as error:
        if not isinstance(error, LasagnaError):
            logging.getLogger("lasagna.serving").exception("a server process could not start")
        print(f"error: {error}", file=sys.stderr)
        sys.stderr.flush()
        # uvicorn starts processes again that end in any other way, and waits for those that take their time to end
        os._exit(STARTUP_FAILURE)


def end_with_parent() -> None:
    """Wait for the command to end, and end this process in order; Ctrl-C has ended it before.

    A command that is killed ends none of its processes, which would keep the port and the memory.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
