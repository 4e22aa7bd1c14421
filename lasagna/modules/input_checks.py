"""What users hand to the assistant, checked at the door."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lasagna.core.batch import Query
from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import QueryError, RecordError


def check_image(image: object) -> None:
    """Check an image.

    Raises:
        RecordError: If it is no array uint8 ``[H, W, 3]`` with pixels.
    """
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return
        found = f"{image.dtype} {list(image.shape)}"
    else:
        found = f"{type(image).__name__}"
    raise RecordError(
        f"image: expected an array uint8 [H, W, 3], got {found}; "
        'np.asarray(Image.open(path).convert("RGB")) makes one of a picture file'
    )


def check_queries(prompt_format: PromptFormat, queries: Sequence[Query], decoding: str) -> None:
    """Check what is asked about one image, and how it is to be decoded.

    Raises:
        QueryError: If a query cannot be asked, or there is no such decoding.
    """
    if decoding not in ("ordered", "free", "forced"):
        raise QueryError(f"decoding: expected 'ordered', 'free' or 'forced', got {decoding!r}")
    for query in queries:
        prompt_format.check(query.kind, query.names)
    if decoding == "forced":
        check_forced(queries)


def check_forced(queries: Sequence[Query]) -> None:
    """Check that the answer to each query can be given: that the one phrase is there.

    Raises:
        QueryError: If one is a list or a question.
    """
    others = sorted({query.kind for query in queries} - {"referring", "reasoning"})
    if others:
        raise QueryError(
            f"decoding: 'forced' gives the answer that a phrase is there, which suits no {' and no '.join(others)} "
            "query; use 'ordered'"
        )
