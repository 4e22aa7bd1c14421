"""The mode that a part is in, and its precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
