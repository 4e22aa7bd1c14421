"""Benchmarks run to their ends at tiny sizes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 2400
"""Seconds within which a script ends on a busy machine; each of its parts has less."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="they read Linux's memory figures"),
]


def run(*words):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def test_a_real_size_is_planned_trained_and_asked(tmp_path):
    pytest.importorskip("sentencepiece")
    file = tmp_path / "sizes.json"
    words = ["--size", "tiny", "--listed", "6", "--names", "6", "--threads", "1", "--out", str(file)]
    ended = run(sys.executable, "benchmarks/real_size.py", *words)
    assert ended.returncode == 0, ended.stderr[-2000:]
    (row,) = json.loads(file.read_text(encoding="utf-8"))["rows"]
    assert row["fits"]
    assert row["finite"]
    assert (row["trained_in"], row["answer"]["names"], row["masks"]) == (["float32"], 6, 3)
    assert 0 < row["measured_gib"] < 1


def test_what_a_gpu_shows_runs_on_the_cpu_and_goes_on_after_a_failure(tmp_path):
    pytest.importorskip("sentencepiece")
    file = tmp_path / "gpu.json"
    ended = run("bash", "benchmarks/gpu.sh", "--tiny", str(file))
    rows = {row["part"]: row["found"] for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert list(rows) == ["step", "compiled", "lists", "fsdp2", "masks"]
    assert ended.returncode == 0, rows
    ended = run(sys.executable, "benchmarks/gpu.py", "lists", "--out", str(file), "--failed", "124")
    rows = {row["part"]: row["found"] for row in json.loads(file.read_text(encoding="utf-8"))["rows"]}
    assert rows["lists"] == "took too long"
    assert "tokens a second" in rows["step"]
