"""Processes encode records in order, not far ahead of their writing, and leave an interrupt to the main process."""

from __future__ import annotations

from multiprocessing import Pool
from signal import SIG_IGN, SIGINT, getsignal

from lasagna.datamodules.shards.encoding import CHUNK, _in_order, _start_process


class HeldBack:
    """A pool that does at once what it is asked for, and counts it."""

    def __init__(self):
        self.made = 0

    def apply_async(self, make, arguments):
        self.made += len(arguments[0])
        return self

    def get(self):
        return [None] * CHUNK


def test_records_are_made_only_a_little_ahead_of_their_writing():
    pool = HeldBack()
    stream = _in_order(pool, range(1000), 3)
    for taken in range(1, 200):
        next(stream)
        assert pool.made <= taken + 4 * CHUNK


def test_processes_leave_an_interrupt_to_the_first(tmp_path):
    with Pool(1, _start_process, (str,)) as pool:
        assert pool.apply(getsignal, (SIGINT,)) is SIG_IGN
