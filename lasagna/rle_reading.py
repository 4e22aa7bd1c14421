"""COCO's mask codings: run lengths, compressed or not, and polygons, read with the checks that pycocotools lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from lasagna.polygon_reach import too_long

_MOST_DIGITS = 7


def read_rle(code: Mapping[str, Any] | Sequence[Sequence[float]], size: tuple[int, int]) -> Any:  # noqa: ANN401
    """Turn any of COCO's mask codings into the compressed one, checked.

    Args:
        code: A compressed or uncompressed RLE object, or a list of polygons ``[x0, y0, x1, y1, ...]``.
        size: Height and width of the image.

    Returns:
        The COCO object ``{"size": [H, W], "counts": bytes}``.

    Raises:
        ValueError: If it is none of the three, or does not cover an image of the size that it names itself. What is
            of another type altogether raises as Python does: KeyError, TypeError, IndexError, OverflowError.
    """
    if not isinstance(code, Mapping):
        return coco.merge(coco.frPyObjects([_polygon(polygon, size) for polygon in code], *size))
    height, width = (_whole(length) for length in code["size"])
    counts = code["counts"]
    if isinstance(counts, list):
        runs = np.asarray([_whole(run) for run in counts], dtype=np.int64)
        code = {"size": [height, width], "counts": runs.tolist()}
    else:
        counts = counts if isinstance(counts, bytes) else str(counts).encode("ascii")
        runs = _runs(counts)
    if runs.sum() != height * width or (runs < 0).any():
        raise ValueError(f"its runs cover {runs.sum()} pixels of {height * width}")
    return coco.frPyObjects(code, height, width) if isinstance(counts, list) else {**code, "counts": counts}


def _whole(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool) or int(value) != value:
        raise ValueError(f"its size and its run lengths are whole numbers, not {value!r}")
    return int(value)


def _polygon(polygon: Sequence[float], size: tuple[int, int]) -> list[float]:
    points = np.asarray(polygon, dtype=np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2:
        raise ValueError("a polygon is a list of at least three points, x and y in turn")
    # pycocotools walks along every edge pixel by pixel: a stray coordinate would cost all memory
    if not np.isfinite(points).all() or too_long(polygon):
        raise ValueError(f"a polygon's coordinates must be pixels of the image, of size {tuple(size)}")
    return [float(point) for point in points]


def _runs(counts: bytes) -> NDArray[np.int64]:
    """Read compressed run lengths (``rleFrString`` in pycocotools, ``common/maskApi.c``).

    pycocotools itself leaves the pixels that no run covers as they happen to lie in memory.
    """
    symbols = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(symbols & 32 == 0)
    if not len(ends) or ends[-1] != len(symbols) - 1 or (symbols < 0).any() or (symbols > 63).any():
        raise ValueError("its run lengths are no compressed RLE")
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    if digits.max() > _MOST_DIGITS:
        raise ValueError("its run lengths are too large")
    shifts = 5 * (np.arange(len(symbols)) - np.repeat(starts, digits))
    runs = np.add.reduceat((symbols & 31) << shifts, starts)
    runs -= np.where(symbols[ends] & 16, np.int64(1) << 5 * digits, 0)
    # from the fourth on, a run is given by its difference from the last but one
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return np.asarray(runs)
