"""The mode that a part is in, and its precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(part: nn.Module) -> Iterator[None]:
    """Be in evaluation mode; afterwards each module of the part has its mode again."""
    training = [module for module in part.modules() if module.training]
    # setting the mode of every module takes longer than some small parts compute
    if training:
        part.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def precision_of(part: nn.Module) -> torch.dtype:
    """Return the precision of a part's weights; the integers of quantized weights do not count."""
    return next((value.dtype for value in part.parameters() if value.is_floating_point()), torch.float32)


def in_precision_of(part: nn.Module, maps: Sequence[Tensor], maker: nn.Module) -> list[Tensor]:
    """Return maps in the precision of the part that reads them.

    Maps stay as they are if maker and reader have weights of one precision, whatever autocast made of the maps.

    Args:
        part: What reads the maps.
        maps: The maps.
        maker: What made them.
    """
    precision = precision_of(part)
    return list(maps) if precision_of(maker) == precision else [one.to(precision) for one in maps]
