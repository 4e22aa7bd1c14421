"""Buffers, such as the statistics of norms, that are equal in all processes before they validate."""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel


def share_buffers(model: nn.Module | None) -> None:
    """Give all processes the buffers of the first one; all processes must call this together before a validation.

    DDP would do so with the first batch that each process validates on. A process without any batch, because all of its
    records were left out, would not take part, and all would wait for ever.

    Args:
        model: What the trainer's strategy calls; nothing is done unless that is DDP.
    """
    if isinstance(model, DistributedDataParallel):
        if model.will_sync_module_buffers():
            model._sync_buffers()
        # what a batch of training sets again
        model.require_forward_param_sync = False
