"""Answers about pictures that are too large to be seen at once: tile by tile, and joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lasagna.core.answer import Answer
from lasagna.core.batch import Query
from lasagna.core.dialogue import Decoding
from lasagna.core.tile_joining import TileJoiner, check_tiled
from lasagna.core.tiles import Tiles
from lasagna.errors import QueryError
from lasagna.modules.contract import check_image, check_queries
from lasagna.modules.decoding.together import answer_together
from lasagna.modules.shown_images import Images, image_count

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant


def answer_tiles(
    assistant: Assistant,
    image: Images,
    queries: Sequence[Query],
    tiles: Tiles,
    decoding: Decoding = "ordered",
    *,
    probabilities: bool = False,
    checked: bool = False,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> list[Answer]:
    """Answer queries about a large picture tile by tile, and join the answers.

    The memory does not grow with the number of tiles, except for the run lengths of the masks.

    Args:
        assistant: The assistant.
        image: The picture, uint8 ``[H, W, 3]``; an array that is mapped from a file may be larger than the memory.
        queries: What is asked.
        tiles: How the picture is divided.
        decoding: How the answers are decoded.
        probabilities: Must not be set, since the probabilities of a large picture take too much memory.
        checked: Whether the queries are checked already, as those about several pictures are, with one warning.
        progress: Passes the numbers of the tiles on, such as ``rich.progress.track``.

    Returns:
        One ``TiledAnswer`` for each query.

    Raises:
        RecordError: If the image is not an array of the expected form.
        QueryError: If a query cannot be asked, or cannot be answered in tiles.
    """
    if probabilities:
        raise QueryError("probabilities: they are not joined over tiles; leave out `probabilities` or `tiles`")
    assistant.configure_model()
    if not checked:
        check_queries(assistant, queries, decoding)
    check_tiled(queries, image_count(image))
    image = image if isinstance(image, np.ndarray) else image[0]
    check_image(image)
    size, keep = (image.shape[0], image.shape[1]), assistant.empty_masks == "present"
    joiners = [TileJoiner(query.names, size, tiles, keep, query.kind.objects) for query in queries]
    every = tiles.of(size)
    firsts = range(0, len(every), tiles.batch)
    for first in progress(firsts):
        together = every[first : first + tiles.batch]
        crops = [np.ascontiguousarray(image[tile.slices]) for tile in together]
        for rank, answers in enumerate(answer_together(assistant, crops, queries, decoding)):
            for joiner, answer in zip(joiners, answers, strict=True):
                joiner.add(first + rank, answer)
    return [joiner.answer() for joiner in joiners]
