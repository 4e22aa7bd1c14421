"""Several processes that train together end together, and one of them says why."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import distributed

from lasagna.core.peers import FINISHED, FOLLOWED, KILLED, Loss, Peers, end_now

_PAUSE = 0.5
"""Seconds between two looks at the other processes."""

_GRACE = 2.0
"""Seconds that a process has to end by an error of its own after another one has ended."""

_PATIENCE = 30.0
"""Seconds after an error of communication within which it shows that another process has ended."""

_LOST = re.compile(r"gloo|nccl|connection (closed|reset|refused)|broken pipe|TCPStore|distributed", re.IGNORECASE)
"""What errors of communication between processes hold."""

STOPPED = "stopped by a signal"


class ProcessWatch:
    """Ends this process soon after another process of the training has ended before its time.

    Without it, a process whose peer was killed waits in a collective operation until a timeout of half an hour, or ends
    with a traceback that names neither the process nor the cause.

    Args:
        trainer: The trainer, which knows rank, number of processes, step and checkpoints.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.peers: Peers | None = None
        self._joined, self._leaving, self._finished = Event(), Event(), False
        if trainer.world_size > 1:
            Thread(target=self._watch, name="process-watch", daemon=True).start()

    def finish(self) -> None:
        """Wait until all processes have finished, so that the first one keeps their store so long."""
        if self.peers is not None:
            self._finished = True
            self.peers.leave(FINISHED)
            while not (self.peers.all_ended or self._leaving.is_set()):
                time.sleep(_PAUSE / 5)
            self._leaving.set()

    def may_follow(self, error: BaseException) -> bool:
        """Return whether an error may be the consequence of another process that ended, whatever code it came from."""
        return self.trainer.world_size > 1 and bool(_LOST.search(f"{type(error).__module__} {error}"))

    def fail(self, error: BaseException, message: str) -> bool:
        """Tell the other processes that this one ends, and return whether it should show its error.

        The first process on a machine shows an error that several have. If another process has ended before and the
        error is only the consequence, the watch ends this process instead.

        Args:
            error: The error.
            message: The line that is shown, or the reason in a line.
        """
        if _is_connected() and self.trainer.world_size > 1:
            self._joined.wait(_GRACE)
        if self.peers is None:
            return True
        if not message and self.may_follow(error):
            # the watch ends this process once it has found the one that is lost
            self._leaving.wait(_PATIENCE)
        self._leaving.set()
        self.peers.leave(message or f"{type(error).__name__}: {' '.join(str(error).split())}")
        end, shows = time.monotonic() + _GRACE, True
        while shows and time.monotonic() < end and not self.peers.all_ended:
            time.sleep(_PAUSE / 5)
            self._look()
            shows = not (message and self.peers.is_said(message))
        return shows

    def _watch(self) -> None:
        while not _is_connected():
            if self._leaving.wait(_PAUSE):
                return
        self.peers = _join(self.trainer)
        self._joined.set()
        while not self._leaving.wait(_PAUSE):
            loss = self._look()
            if loss is not None:
                self._follow(loss)

    def _look(self) -> Loss | None:
        assert self.peers is not None
        try:
            return self.peers.look()
        except RuntimeError:
            # whoever keeps the store has ended: the first process, or a launcher with all its processes
            if self._finished or not self.peers.places:
                self._leaving.set()
                return None
            first = min(self.peers.places)
            return Loss(first, self.peers.places[first], KILLED)

    def _follow(self, loss: Loss) -> None:
        """End this process because of another one, unless it ends by itself meanwhile."""
        assert self.peers is not None
        if self._leaving.wait(_GRACE * (5 if loss.reason == STOPPED else 1)):
            return
        shown_there = loss.reason != KILLED and self.peers.is_near(loss.rank)
        if not shown_there and self.peers.speaks():
            print(self._line(loss), file=sys.stderr)
        if not self.peers.has_lost_store:
            with suppress(RuntimeError):
                self._pass_on(loss)
        end_now(1)

    def _pass_on(self, loss: Loss) -> None:
        """Tell other machines of a process that was killed, and keep the store until they have read it."""
        assert self.peers is not None
        self.peers.leave(FOLLOWED)
        if loss.reason == KILLED:
            self.peers.leave(KILLED, loss.rank)
        end = time.monotonic() + _GRACE
        while not self.peers.all_ended and time.monotonic() < end:
            time.sleep(_PAUSE / 5)
            self.peers.look()

    def _line(self, loss: Loss) -> str:
        trainer = self.trainer
        who = f"process {loss.rank} of {trainer.world_size} (number {loss.place.pid} on {loss.place.host.split()[0]})"
        what = "ended without a word, as if killed or out of memory" if loss.reason == KILLED else loss.reason
        newest = last_checkpoint(trainer)
        way_on = f" by the same command with --ckpt_path last ({newest})" if newest else ", from the beginning"
        return f"error: {who}: {what}; all processes end, at step {trainer.global_step}; go on{way_on}"


def last_checkpoint(trainer: Trainer) -> Path | None:
    """Return the newest checkpoint of a training that has begun, without asking other processes; None if there is none.

    Args:
        trainer: The trainer.
    """
    folders = [callback.dirpath for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    files = [
        file for folder in folders if folder and "://" not in str(folder) for file in Path(folder).glob("last*.ckpt")
    ]
    return max(files, key=lambda file: file.stat().st_mtime, default=None)


def _is_connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _join(trainer: Trainer) -> Peers:
    """Connect to the store that the processes found each other by, and take over from Lightning's observer.

    The observer kills the first process when another one has ended, before that can say anything.
    """
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=10),
    )
    # torchrun keeps the store in a process of its own
    keeper = None if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else 0
    peers = Peers(store, trainer.global_rank, trainer.world_size, keeper)
    for thread in threading.enumerate():
        if thread.name == "child-process-observer":
            vars(thread)["_child_processes"] = []
    return peers
