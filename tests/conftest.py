"""What all tests share."""

import os
import signal
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import lightning  # noqa: F401 - its log handler writes to the standard error of its import, which a test closes
import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.helpers.golden_batch import read_facts

torch.set_num_threads(1)
# a shell lets the processes that it starts in the background ignore Ctrl-C, and they hand that on to what tests start
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile(
    "quick",
    max_examples=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("there is no folder `shared` with real data beside the repository")
    return folder


@pytest.fixture(scope="module")
def golden(shared):
    if not (shared / "golden" / "checkpoints" / "release").is_dir():
        pytest.skip("there are no golden numbers of the original code in shared/golden")
    pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
    return shared / "golden"


@pytest.fixture(scope="module")
def checkpoints(golden):
    return golden / "checkpoints"


@pytest.fixture(scope="module")
def facts(golden):
    return read_facts(golden)
