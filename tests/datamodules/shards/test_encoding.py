"""Processes encode records, not far ahead of their writing, and leave an interrupt to the main process."""

from __future__ import annotations

import os
from signal import SIG_IGN, SIGINT, SIGKILL, getsignal

import pytest

from lasagna.core.workers import worker_pool
from lasagna.datamodules.shards.encoding import _start_process, encode_parallel
from lasagna.errors import LasagnaError


def end_at_once(index):
    os.kill(os.getpid(), SIGKILL)


def test_a_killed_process_is_said_instead_of_waited_for():
    with (
        pytest.raises(LasagnaError, match="one of 2 was killed, perhaps because memory ran out"),
        encode_parallel(end_at_once, range(20), 2) as encoded,
    ):
        next(encoded)


def test_processes_leave_an_interrupt_to_the_first():
    with worker_pool(1, _start_process, (str,)) as pool:
        assert pool.submit(getsignal, SIGINT).result() is SIG_IGN
