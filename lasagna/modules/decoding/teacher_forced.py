"""Answers that are given to the model, as published scores of phrases have it.

Notation: b: images; i: image tokens; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.prompt_format import ParsedEntry
from lasagna.modules.decoding.answers import DecodedAnswer
from lasagna.modules.decoding.reading import presence_scores

if TYPE_CHECKING:
    from lasagna.modules.decoding.decoder import Decoder


@torch.no_grad()
def decode_teacher_forced(decoder: Decoder, image_vectors: Tensor, queries: Sequence[Query]) -> list[DecodedAnswer]:
    """Give the model the answer that the phrase is present, as the scripts of LISA and LaSagnA do for their scores.

    Args:
        decoder: The decoder.
        image_vectors: The images as the language model reads them, float ``[b, i, d]``.
        queries: The queries, each of one phrase (``check_decoding``).

    Returns:
        One decoded answer for each query.

    Raises:
        QueryError: If a query is longer than the language model takes.
    """
    text = decoder.format.teacher_forced()
    answer = decoder.text.answer_ids(text)
    prompts, cached = decoder.read_prompts(image_vectors, queries, [answer] * len(queries))
    hidden = cached.read([prompt[-1:] + answer[:-1] for prompt in prompts])[:, -1:]
    text += decoder.format.tail
    return [
        DecodedAnswer(text, (ParsedEntry(query.names[0], True, 0),), (), (True,), score, state, 1)
        for query, score, state in zip(queries, presence_scores(decoder, list(hidden)), hidden, strict=True)
    ]
