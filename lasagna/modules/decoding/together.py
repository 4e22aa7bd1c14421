"""Queries about several images that are answered together, where their inputs have one size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from lasagna.core.answer import Answer
from lasagna.core.batch import Query
from lasagna.core.dialogue import Decoding
from lasagna.core.geometry import Geometry
from lasagna.core.image_places import LAST
from lasagna.modules.encoded_images import EncodedImages
from lasagna.modules.shown_images import Images, image_count, prepare_images

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant

_ROWS = 8
_TOKENS = 2048
"""Tokens that a CPU reads together at most: with more, a small model took longer for each image than with fewer."""


def images_together(assistant: Assistant, queries: Sequence[Query]) -> int:
    """Return how many images are answered together fastest.

    Args:
        assistant: The assistant.
        queries: What is asked about each.
    """
    assistant.configure_model()
    if assistant.device.type != "cpu":
        return _ROWS
    # lists that are split have about as many tokens in all their parts
    tokens = sum(map(assistant.decoder.length, queries))
    return max(1, min(_ROWS, _TOKENS // max(1, tokens)))


@torch.no_grad()
def answer_together(
    assistant: Assistant,
    images: Sequence[Images],
    queries: Sequence[Query],
    decoding: Decoding = "ordered",
    masks_on: int = LAST,
) -> list[list[Answer]]:
    """Answer checked queries about each of several images; those whose inputs have one size are computed together.

    Answers are those that each image gets alone, apart from rounding.

    Args:
        assistant: The assistant.
        images: The images, or lists of images that are shown together, each list by itself.
        queries: What is asked about each.
        decoding: How the answers are decoded; words are always written freely.
        masks_on: Position of the image that masks belong to, among those that are shown together.

    Returns:
        For each image the answer to each query.

    Raises:
        RecordError: If an image is not an array of the expected form.
        QueryError: If a query is longer than the language model takes.
    """
    assistant.configure_model()
    prepared = [prepare_images(assistant.processors, image, masks_on, assistant.device) for image in images]
    groups: dict[object, list[int]] = {}
    for place, ((pixels, tower, shown), _) in enumerate(prepared):
        own = place if shown is not None else None
        groups.setdefault((pixels.shape, None if tower is None else tower.shape, own), []).append(place)
    found: dict[int, list[Answer]] = {}
    for places in groups.values():
        pixels = torch.cat([prepared[place][0][0] for place in places])
        towers = [tower for (_, tower, _), _ in (prepared[place] for place in places) if tower is not None]
        with assistant.answering():
            encoded = assistant.encode(pixels, torch.cat(towers) if towers else None, prepared[places[0]][0][2])
        asked = [replace(query, images=image_count(images[places[0]])) for query in queries]
        geometries = [prepared[place][1] for place in places]
        found.update(zip(places, _answers(assistant, encoded, geometries, asked, decoding), strict=True))
    return [found[place] for place in range(len(images))]


def _answers(
    assistant: Assistant,
    encoded: EncodedImages,
    geometries: Sequence[Geometry],
    queries: Sequence[Query],
    decoding: Decoding,
) -> Iterable[list[Answer]]:
    """Return the answers about each of some encoded images."""
    asked = [replace(query, image=image) for image in range(len(geometries)) for query in queries]
    ways = {rank: "free" if query.kind.words else decoding for rank, query in enumerate(asked)}
    answers: dict[int, Answer] = {}
    way: Decoding
    for way in dict.fromkeys(ways.values()):
        ranks = [rank for rank in ways if ways[rank] == way]
        given = assistant.answer_batch(encoded, geometries, [asked[rank] for rank in ranks], way)
        answers.update(zip(ranks, given, strict=True))
    for first in range(0, len(asked), len(queries)):
        yield [answers[rank] for rank in range(first, first + len(queries))]
