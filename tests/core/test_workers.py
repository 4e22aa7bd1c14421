"""Workers end with a parent that was killed, whatever they wait for."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pool, get_all_start_methods, get_context
from pathlib import Path

import pytest

from lasagna.core.locks import terminable
from lasagna.core.workers import made_in_order, serve_parent, serve_pool, worker_pool

POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from lasagna.core.workers import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""

# more samples than fit into the pipe of a queue, so that the workers wait for room in it
LOADER = """
import multiprocessing, time, torch
from torch.utils.data import DataLoader
from lasagna.core.workers import serve_parent
if __name__ == "__main__":
    samples = [b"x" * 100_000] * 1000
    loader = DataLoader(samples, num_workers=2, worker_init_fn=serve_parent, collate_fn=list)
    batches = iter(loader)
    next(batches), next(batches)  # one from each worker: both have begun
    print(*[worker.pid for worker in multiprocessing.active_children()], flush=True)
    time.sleep(600)
"""


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc to see processes")
@pytest.mark.parametrize("code", [POOL, LOADER], ids=["pool", "loader"])
def test_workers_end_with_a_parent_that_was_killed(code, tmp_path):
    (tmp_path / "parent.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        try:
            workers = [int(word) for word in parent.stdout.readline().split()]
            assert workers
            assert all(map(is_there, workers))
            if code is LOADER:
                for number in (signal.SIGINT, signal.SIGTERM):  # from elsewhere, as of a terminal or a scheduler
                    os.kill(workers[0], number)
                time.sleep(0.5)
                assert is_there(workers[0])
        finally:
            parent.kill()
    end = time.monotonic() + 30
    while any(map(is_there, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_there, workers))


def test_workers_of_a_pool_end_at_sigterm_whatever_their_parent_does_at_it():
    with terminable(), Pool(1, serve_pool) as pool:
        assert pool.apply(signal.getsignal, (signal.SIGTERM,)) == signal.SIG_DFL
        assert pool.apply(signal.getsignal, (signal.SIGINT,)) == signal.SIG_IGN


def serve_and_sleep(begun):
    serve_parent()
    begun.set()
    time.sleep(600)


@pytest.mark.parametrize("method", get_all_start_methods())
def test_a_worker_ends_at_the_sigterm_of_its_parent_however_it_was_started(method):
    context = get_context(method)
    begun = context.Event()
    worker = context.Process(target=serve_and_sleep, args=(begun,), daemon=True)
    worker.start()
    try:
        assert begun.wait(60)
        worker.terminate()
        worker.join(20)
        assert worker.exitcode is not None
    finally:
        worker.kill()


class AtOnce:
    """A pool that does at once what it is asked for, and counts it."""

    def __init__(self):
        self.made = 0

    def submit(self, make, task):
        self.made += 1
        return self

    def result(self):
        return None


def test_tasks_are_done_only_a_little_ahead_of_what_takes_them():
    pool = AtOnce()
    for taken, _ in enumerate(made_in_order(pool, str, range(100), 3), start=1):
        assert pool.made <= taken + 3
    assert taken == 100


def test_a_pool_gives_results_in_order_and_ends_in_the_middle_of_its_work():
    began = time.monotonic()
    with worker_pool(2) as pool:
        assert list(made_in_order(pool, str, range(5), 2)) == ["0", "1", "2", "3", "4"]
        pool.submit(time.sleep, 600)
    assert time.monotonic() - began < 60
