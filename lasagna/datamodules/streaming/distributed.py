"""Ranks and workers as webdataset counts them, and values gathered from all processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from webdataset.utils import pytorch_worker_info

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes."""
    rank, world_size, _, _ = pytorch_worker_info()
    return rank, world_size


def worker_index() -> int:
    """Return which worker of the data loader this process is; 0 without workers."""
    return int(pytorch_worker_info()[2])


def gather(value: T) -> list[T]:
    """Return the values of all processes by rank; all processes must call this together.

    Args:
        value: The value of this process; plain data.
    """
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return [value]
    values = [value] * world_size
    torch.distributed.all_gather_object(values, value)
    return values


def sum_over_processes(counts: Sequence[int], device: torch.device) -> list[int]:
    """Return the sums of counts over all processes, which must call this together.

    Args:
        counts: The counts of this process.
        device: The device that the processes exchange tensors on.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(counts)
    sums = torch.tensor(counts, device=device)
    torch.distributed.all_reduce(sums)
    return sums.tolist()
