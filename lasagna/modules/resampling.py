"""Mask logits at an image's own size, as two matrix products: several times as fast backward as resizing twice.

Notation: n: masks; h', w': size of the logits; h, w: size of the image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lasagna.core.geometry import Geometry

BAND = 32
"""Rows of a matrix that are multiplied at once; only few of their columns are not zero."""


def resample(logits: Tensor, geometry: Geometry) -> Tensor:
    """Resize mask logits to the image's own size, as ``lasagna.core.geometry.restore_logits`` does, up to rounding.

    Resizing to the padded input, cropping the padding and resizing to the image are linear and separable, so together
    they are one matrix for each axis. Parts of the image that the input does not show are left out.

    Args:
        logits: Float ``[n, h', w']``; they cover the padded input.
        geometry: How the image was fitted.

    Returns:
        Logits ``[n, h, w]`` of the part of the image that the input shows, usually all of it; float64 for float64
        logits, else float32.
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    sizes = zip(logits.shape[1:], geometry.padded, geometry.resized, geometry.shown_size, strict=True)
    with torch.autocast(logits.device.type, enabled=False):  # half precision would shift the pixels
        resampled: Tensor = _Resampled.apply(wide, *(_matrix(*size, wide.dtype) for size in sizes))
    return resampled


class _Resampled(Function):
    """The product; its backward is the product with the transposed matrices, which skips the same zeros."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, down: Tensor, across: Tensor) -> Tensor:  # noqa: ANN401
        ctx.matrices = down, across
        return _product(logits, down, across)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        down, across = ctx.matrices
        return _product(gradient, down.T, across.T), None, None


def _product(masks: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Multiply each mask by a matrix ``down`` from the left, and by the transpose of ``across`` from the right."""
    lines = masks.flatten(0, 1)
    wide = torch.cat([lines[:, columns] @ band.T for columns, band in _bands(across, masks)], 1)
    wide = wide.unflatten(0, masks.shape[:2])
    return torch.cat([band @ wide[:, columns] for columns, band in _bands(down, masks)], 1)


def _bands(matrix: Tensor, like: Tensor) -> list[tuple[slice, Tensor]]:
    """Split a matrix on the CPU into bands of rows, each with the range of its columns that are not zero."""
    moved = matrix.to(like)
    bands = []
    for rows, part in zip(moved.split(BAND), matrix.split(BAND), strict=True):
        used = part.any(0).nonzero().flatten().tolist() or [0]  # all are zero in a band of padding
        columns = slice(used[0], used[-1] + 1)
        bands.append((columns, rows[:, columns]))
    return bands


def _matrix(source: int, padded: int, resized: int, shown: int, kind: torch.dtype) -> Tensor:
    """Return the matrix ``[shown, source]`` that resizes a line of ``source`` values to one of ``shown`` values."""
    line = torch.eye(source, dtype=kind, device="cpu")[None]
    whole = torch.nn.functional.interpolate(line, size=padded, mode="linear")
    return torch.nn.functional.interpolate(whole[..., :resized], size=shown, mode="linear")[0].T
