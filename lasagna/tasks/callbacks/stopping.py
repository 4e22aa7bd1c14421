"""Ctrl-C and SIGTERM end a training after the step that is running, not within it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from signal import SIGINT, SIGTERM, Signals, getsignal, signal
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

from lightning import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

_NOTE = b"\nstopping after this step, with a checkpoint; Ctrl-C again stops at once, without one\n"
_ECHO = 3.0
"""Seconds within which a second Ctrl-C is the first one, passed on by a launcher or a sweep."""


class StopSignals:
    """Notes Ctrl-C and SIGTERM in this process, and asks whether any process has got one.

    A second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        self.number: Signals | None = None
        self._noted = 0.0
        self._before: dict[Signals, Any] = {}

    def watch(self) -> None:
        """Note the signals from now on. Only the main thread can."""
        if current_thread() is main_thread():
            self.number = None
            self._before = {number: signal(number, self._note) for number in (SIGINT, SIGTERM)}

    def forget(self) -> None:
        """Handle the signals as before, unless someone else handles them by now."""
        for number, before in self._before.items():
            if getsignal(number) == self._note:
                signal(number, before)
        self._before = {}

    def came(self, trainer: Trainer) -> bool:
        """Say whether a process has got a signal; all processes must call this together.

        Args:
            trainer: The trainer, whose strategy knows the other processes.
        """
        own = self.number is not None or trainer.received_sigterm
        return bool(trainer.strategy.reduce_boolean_decision(own, all=False))

    def stop(self) -> None:
        """End the training as the signal would have.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            SIGTERMException: After SIGTERM, in this process or in another one.
        """
        self.forget()
        raise KeyboardInterrupt if self.number == SIGINT else SIGTERMException

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number, self._noted = Signals(number), time.monotonic()
            # a stream may be in the middle of a line, and does not let itself be interrupted by another one
            os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _NOTE)
        elif number == SIGINT and time.monotonic() - self._noted > _ECHO:
            raise KeyboardInterrupt


@contextmanager
def before_validation(trainer: Trainer) -> Iterator[None]:
    """Let a checkpoint that is written during a validation say that the validation has yet to begin.

    Lightning goes on within a validation, without the scores of the batches before.

    Args:
        trainer: The trainer, whose loop of validation counts batches.
    """
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    kept = deepcopy(progress.state_dict())
    for name, done in vars(progress.current).items():
        setattr(progress.total, name, getattr(progress.total, name) - done)
        setattr(progress.current, name, 0)
    # a batch that has started and is not done is what Lightning takes for a validation to go back to
    progress.increment_ready()
    progress.increment_started()
    try:
        yield
    finally:
        progress.load_state_dict(kept)


def settle_validation(trainer: Trainer) -> None:
    """Forget the batch with which ``before_validation`` marked a checkpoint, now that the validation has begun.

    Args:
        trainer: The trainer, whose loop of validation counts batches.
    """
    progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
    if not progress.current.ready:
        progress.total.load_state_dict({name: progress.total.completed for name in vars(progress.total)})
