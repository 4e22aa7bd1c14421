"""Rows of tokens of unequal lengths as one tensor.

Notation: r: rows; t: tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def right_pad(rows: Sequence[Sequence[int]], padding: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return rows padded at the right, long ``[r, t]``, and the mask of real tokens, long ``[r, t]``."""
    longest = max(map(len, rows))
    ids = [[*row, *[padding] * (longest - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def left_pad(rows: Sequence[Sequence[int]], padding: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return rows padded at the left, long ``[r, t]``, and the mask of real tokens, long ``[r, t]``."""
    ids, mask = right_pad([list(row)[::-1] for row in rows], padding, device)
    return ids.flip(1), mask.flip(1)


def row_positions(mask: Tensor) -> Tensor:
    """Return the position of each token among the real ones of its row, long ``[r, t]``, whatever the padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)
