"""The device that ``evaluate``, ``predict`` and ``calibrate`` choose."""

import pytest
import torch

from lasagna.core.device import device_of_process, find_device
from lasagna.errors import LasagnaError


def test_auto_is_the_accelerator_or_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert find_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    assert find_device("auto") == torch.device("cuda")


@pytest.mark.parametrize("name", ["none", "cuda:99"])
def test_a_device_that_cannot_be_used_is_named_with_the_way_out(name):
    with pytest.raises(LasagnaError, match=f"device: '{name}' cannot be used .*try cpu"):
        find_device(name)


def test_a_device_without_values_is_refused():
    with pytest.raises(LasagnaError, match=r"device: 'meta' holds no values.*try cpu"):
        find_device("meta")


def test_processes_of_a_machine_share_its_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [device_of_process("auto", rank) for rank in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert device_of_process("cpu", 1) == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_of_process("auto", 1) == "auto"
