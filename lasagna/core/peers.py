"""The other processes of a training: which of them have ended, and whether by themselves."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch.distributed import Store  # type: ignore[attr-defined]

SILENCE = 25.0
"""Seconds without a sign of life after which a process on another machine counts as lost."""

FINISHED = "finished"
"""What a process leaves that has ended as it should."""

FOLLOWED = "followed"
"""What a process leaves that ends because another one has."""

KILLED = "killed"
"""What its neighbours leave for a process that has ended without a word."""


@dataclass(frozen=True)
class Place:
    """Where a process runs.

    Args:
        host: Name of the machine and of its table of processes, which containers have for themselves.
        pid: Number of the process.
    """

    host: str
    pid: int


@dataclass(frozen=True)
class Loss:
    """A process that has ended before the others.

    Args:
        rank: Its rank.
        place: Where it ran.
        reason: The error that it left, or ``KILLED`` if it ended without a word.
    """

    rank: int
    place: Place
    reason: str


def here() -> Place:
    """Return where this process runs."""
    space = Path("/proc/self/ns/pid")
    table = space.readlink() if space.is_symlink() else ""
    return Place(f"{socket.gethostname()} {table}".strip(), os.getpid())


def is_running(pid: int) -> bool:
    """Say whether a process of this machine runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        pass
    if Path("/proc/self/stat").is_file():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


class Peers:
    """Signs of life of all processes in a store that they share.

    On one machine the system knows which processes run. Those of other machines count in the store.

    Args:
        store: The store.
        rank: Rank of this process.
        size: Number of processes.
        keeper: Rank of the process that keeps the store; None if none of them does.
        place: Where this process runs.
        clock: The time in seconds.
    """

    def __init__(
        self,
        store: Store,
        rank: int,
        size: int,
        keeper: int | None = None,
        place: Place | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store, self.rank, self.keeper, self.place, self._clock = store, rank, keeper, place or here(), clock
        self.places: dict[int, Place] = {}
        self.ends: dict[int, str] = {}
        self._others = [other for other in range(size) if other != rank]
        self._beats = 0
        self._heard: dict[int, tuple[str, float]] = {}
        store.set(_key("end", rank), "")
        store.set(_key("beat", rank), "0")
        store.set(_key("place", rank), json.dumps([self.place.host, self.place.pid]))

    def leave(self, reason: str, rank: int | None = None) -> None:
        """Tell the others that a process ends.

        Args:
            reason: The error, ``FINISHED``, ``FOLLOWED`` or ``KILLED``.
            rank: Its rank; by default that of this process.
        """
        self.store.set(_key("end", self.rank if rank is None else rank), reason)

    @property
    def all_ended(self) -> bool:
        """Whether all other processes had ended, or said that they do, when this one looked last."""
        return all(other in self.ends or (self.is_near(other) and not self._runs(other)) for other in self._others)

    def is_near(self, other: int) -> bool:
        """Say whether another process runs on the machine of this one."""
        return other in self.places and self.places[other].host == self.place.host

    @property
    def has_lost_store(self) -> bool:
        """Whether the process that keeps the store ran here and has ended; torch warns at length when it is asked."""
        return self.keeper is not None and self.is_near(self.keeper) and not self._runs(self.keeper)

    def look(self) -> Loss | None:
        """Give a sign of life, and return the first process that has ended before its time, if there is one.

        Raises:
            RuntimeError: If the store cannot be reached; the process that keeps it may have ended.
        """
        if self.keeper is not None and self.has_lost_store:
            return self._first_loss({self.keeper: KILLED} | self.ends)
        self._beats += 1
        self.store.set(_key("beat", self.rank), str(self._beats))
        for other in self._others:
            if other not in self.places and self.store.check([_key("place", other)]):
                self.places[other] = Place(*json.loads(self.store.get(_key("place", other))))
        beats = self._read("beat")
        silent = [other for other, beat in beats.items() if not self._is_alive(other, beat)]
        # what a process leaves is read after the look at it, since it may have ended in between
        self.ends = {other: end for other, end in self._read("end").items() if end}
        return self._first_loss(self.ends | {other: KILLED for other in silent if other not in self.ends})

    def _first_loss(self, ends: dict[int, str]) -> Loss | None:
        lost = sorted((other, end) for other, end in ends.items() if end not in (FINISHED, FOLLOWED))
        return Loss(lost[0][0], self.places[lost[0][0]], lost[0][1]) if lost else None

    def speaks(self) -> bool:
        """Say whether this process is the first on its machine of those that end because another one has."""
        before = [other for other in self.places if other < self.rank and self.is_near(other)]
        return not any(
            self.ends.get(other) == FOLLOWED or (other not in self.ends and self._runs(other)) for other in before
        )

    def is_said(self, reason: str) -> bool:
        """Say whether a process before this one on its machine ends for the same reason."""
        return any(end == reason and other < self.rank and self.is_near(other) for other, end in self.ends.items())

    def _read(self, kind: str) -> dict[int, str]:
        texts = self.store.multi_get([_key(kind, other) for other in self.places]) if self.places else []
        return {other: text.decode() for other, text in zip(self.places, texts, strict=True)}

    def _runs(self, other: int) -> bool:
        return is_running(self.places[other].pid)

    def _is_alive(self, other: int, beat: str) -> bool:
        if self.is_near(other):
            return self._runs(other)
        heard, since = self._heard.setdefault(other, (beat, self._clock()))
        if beat != heard:
            self._heard[other] = (beat, self._clock())
            return True
        return self._clock() - since < SILENCE


def _key(kind: str, rank: int) -> str:
    # torchrun keeps its store when it starts the processes again
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return f"lasagna/{attempt}/{kind}/{rank}"


def end_now(status: int) -> None:
    """End this process at once, whatever its other threads wait for.

    Args:
        status: Its exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status)
