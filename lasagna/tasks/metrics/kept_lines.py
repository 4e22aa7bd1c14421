"""The base class of metrics whose scores are no sums over answers: they keep what they need of each answer."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lasagna.core.dialogue import Decoding
from lasagna.tasks.metrics.base import DialogueMetric


class KeptLines(DialogueMetric):
    """A metric that keeps a line of plain data for each answer.

    Args:
        decoding: Which answers are scored.
    """

    lines: list[Tensor] | Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        # lines of JSON, as bytes: processes can gather only tensors
        self.add_state("lines", [], dist_reduce_fx="cat")

    def keep_line(self, content: Any) -> None:  # noqa: ANN401
        """Keep plain data of one answer.

        Args:
            content: What JSON can hold.
        """
        line = json.dumps(content).encode() + b"\n"
        assert isinstance(self.lines, list)
        self.lines.append(torch.frombuffer(bytearray(line), dtype=torch.uint8).to(self.device))

    def kept(self) -> list[Any]:
        """Return what was kept, of all processes once they have exchanged their states."""
        # after processes have exchanged their states, this one is a tensor
        kept = self.lines if isinstance(self.lines, Tensor) or self.lines else _nothing(self.device)
        return [json.loads(line) for line in bytes(dim_zero_cat(kept).cpu().numpy()).splitlines()]

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # torchmetrics would gather the state of a process without answers as floats
        if isinstance(self.lines, list) and not self.lines:
            self.lines = _nothing(self.device)
        super()._sync_dist(*args, **kwargs)


def _nothing(device: torch.device) -> list[Tensor]:
    return [torch.zeros(0, dtype=torch.uint8, device=device)]
