"""Which queries are decoded in which way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from lasagna.core.batch import Query
from lasagna.modules.decoded import Decoded
from lasagna.modules.decoding import Decoder

Decoding = Literal["ordered", "free", "forced"]


def decode_queries(
    decoder: Decoder, image_vectors: Tensor, queries: Sequence[Query], decoding: Decoding
) -> list[Decoded]:
    """Decode the answers to queries that fit into the language model, those of a kind together.

    Args:
        decoder: What decodes.
        image_vectors: What stands at the image tokens of each image, float ``[b, i, w]``.
        queries: What is asked; questions are always decoded freely.
        decoding: "ordered", "free" or "forced", as ``Assistant.answer_batch`` tells.

    Returns:
        One decoded answer for each query.
    """
    free = [rank for rank, query in enumerate(queries) if decoding == "free" or query.kind == "question"]
    told = [rank for rank in range(len(queries)) if rank not in set(free)]
    decoded: dict[int, Decoded] = {}
    decide = decoder.forced if decoding == "forced" else decoder.ordered
    for ranks, decode in ((free, decoder.free), (told, decide)):
        if ranks:
            answers = decode(image_vectors, [queries[rank] for rank in ranks])
            decoded.update(zip(ranks, answers, strict=True))
    return [decoded[rank] for rank in range(len(queries))]
