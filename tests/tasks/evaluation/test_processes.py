"""Processes that share an evaluation: none is left behind, and none writes what another one writes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lasagna.core.locks import BusyError
from lasagna.tasks.evaluation.predictions import check_free, opened, predictions_file

POOL = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from lasagna.tasks.evaluation.processes import end_with_parent
if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc to see processes")
def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    with subprocess.Popen([sys.executable, tmp_path / "pool.py"], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        assert is_there(worker)
        parent.kill()
    end = time.monotonic() + 30
    while is_there(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_there(worker)


def test_a_part_that_another_process_writes_is_refused_and_not_mended(tmp_path):
    file = predictions_file(tmp_path, 1)
    with opened(file) as stream:
        stream.write('{"pass": "half')
        stream.flush()
        with pytest.raises(BusyError, match=r"predictions-001\.jsonl; wait until it has finished"):
            check_free(tmp_path)
        with pytest.raises(BusyError), opened(file):
            pass
        check_free(tmp_path, first=2)
    assert file.read_text() == '{"pass": "half'
    check_free(tmp_path)
