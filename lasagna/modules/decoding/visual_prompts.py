"""Masks of queries that come with points, boxes or an earlier mask.

Notation: n: mask prompts; h', w': size of mask logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lasagna.core.answer import AnsweredEntry
from lasagna.core.answer_parser import ParsedEntry
from lasagna.core.batch import Query
from lasagna.core.geometry import Geometry
from lasagna.core.query_kind import REFERRING
from lasagna.core.visual_prompt import FittedPrompt, VisualPrompt
from lasagna.errors import QueryError
from lasagna.modules.base import MaskHead
from lasagna.modules.decoding.answers import DecodedAnswer, make_answer
from lasagna.modules.encoded_images import EncodedImages
from lasagna.modules.mask_prediction import MaskPrediction

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant

Asked = tuple[Query, Geometry]
"""What a mask prompt belongs to, and how its image was fitted."""


def check_visual(head: MaskHead, queries: Sequence[Query], sizes: Sequence[tuple[int, int]]) -> None:
    """Check the points, boxes and masks of queries before anything is computed.

    Args:
        head: The mask head that is to take them.
        queries: The queries, most of them without any.
        sizes: Height and width of each image.

    Raises:
        QueryError: If the head takes none, a query asks for several names, for a caption or for words alone, or
            something lies outside its image.
    """
    for query in queries:
        if query.visual is None:
            continue
        check_head(head)
        if asked := _not_one_thing(query):
            raise QueryError(
                f"visual: points, boxes and a mask are for one thing with a mask; the query is for {asked}"
            )
        query.visual.check(sizes[query.image])


def _not_one_thing(query: Query) -> str:
    """Return what a query is for if that is not one thing with a mask."""
    if not query.kind.masks:
        return f"a {query.kind}, which has no mask"
    if query.kind.grounded:
        return "a caption, which shows several things"
    if query.kind.tokens:
        return "objects one by one"
    return "" if len(query.names) == 1 else f"{len(query.names)} names"


def check_head(head: MaskHead) -> None:
    """Check that a mask head takes points, boxes and masks.

    Raises:
        QueryError: If it takes none.
    """
    if not head.takes_visual_prompts:
        raise QueryError(
            f"visual: {type(head).__name__} takes no points, boxes or masks; leave them out, or ask an assistant with "
            "a SamMaskHead or Sam2MaskHead"
        )


@torch.no_grad()
def draw(
    head: MaskHead, features: Sequence[Tensor], words: Tensor | None, visual: VisualPrompt, geometry: Geometry
) -> Tensor:
    """Return the union of the masks of all boxes, or the one mask without a box, logits ``[h', w']``.

    Args:
        head: A mask head that takes visual prompts.
        features: The vision encoder's maps of one image, each float ``[1, c, h, w]``.
        words: The prompt of the language model, float ``[prompt_dim]``, or None.
        visual: Points, boxes and mask in pixels of the image.
        geometry: How the image was fitted.

    Raises:
        QueryError: If something lies outside the image, or where the encoder does not see it.
    """
    device = features[0].device
    return torch.stack([head.draw(features, words, _on(device, one)) for one in visual.fit(geometry)]).amax(0)


def _on(device: torch.device, fitted: FittedPrompt) -> FittedPrompt:
    parts = {name: part.to(device) for name, part in vars(fitted).items() if part is not None}
    return replace(fitted, **parts)


def with_visual(
    masks: MaskPrediction,
    head: MaskHead,
    features: Sequence[Tensor],
    prompts: Tensor,
    asked: Sequence[Asked],
) -> MaskPrediction:
    """Return a prediction in which the masks of queries with a visual prompt are drawn with it.

    Args:
        masks: The masks of all prompts without visual prompts.
        head: The mask head.
        features: The vision encoder's maps, each float ``[b, c, h, w]``.
        prompts: The prompts of the language model, float ``[n, prompt_dim]``.
        asked: The query of each prompt, and how its image was fitted.
    """
    if all(query.visual is None for query, _ in asked):
        return masks
    logits = masks.logits.clone()
    for row, (query, geometry) in enumerate(asked):
        if query.visual is not None:
            own = [maps[query.image : query.image + 1] for maps in features]
            logits[row, 0] = draw(head, own, prompts[row], query.visual, geometry)
    return replace(masks, logits=logits)


def segment(
    assistant: Assistant,
    encoded: EncodedImages,
    geometry: Geometry,
    visual: VisualPrompt,
    name: str,
    score: float = 1.0,
) -> AnsweredEntry:
    """Draw the mask of what is pointed at, without words.

    Args:
        assistant: The assistant, whose mask head takes visual prompts.
        encoded: The encoded image.
        geometry: How it was fitted.
        visual: Points, boxes and mask in pixels of the image.
        name: Name of the entry.
        score: Its presence score.

    Returns:
        The entry, with the probability of each pixel.

    Raises:
        QueryError: If the mask head takes no visual prompts, or something lies outside the image.
    """
    check_head(assistant.mask_head)
    visual.check(geometry.original)
    with assistant.answering():
        logits = draw(assistant.mask_head, encoded.features, None, visual, geometry)
    decoded = DecodedAnswer("", (ParsedEntry(name, True, 0),), (), (True,), torch.tensor([score]), torch.empty(1, 0), 0)
    query, threshold = Query(0, REFERRING, (name,)), assistant.mask_threshold
    answer = make_answer(query, decoded, logits[None], geometry, threshold=threshold, probabilities=True)
    return answer.entries[0]
