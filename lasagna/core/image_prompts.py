"""Prompts with the tokens of one image or several."""

from __future__ import annotations

from collections.abc import Sequence

from lasagna.core.processors import TextProcessor
from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import QueryError


def prompt_ids(
    text: TextProcessor, prompt_format: PromptFormat, kind: str, names: Sequence[str], wording: int = 0, images: int = 1
) -> list[int]:
    """Return the token ids of a prompt, with the tokens of all images in their order.

    Args:
        text: The language model's text processor.
        prompt_format: How prompts are written.
        kind: Kind of the query.
        names: The names asked for.
        wording: Number of the wording.
        images: Number of images.

    Raises:
        QueryError: If the prompt format or the text processor takes only one image, and there are several.
    """
    ids = text.prompt_ids(prompt_text(prompt_format, kind, names, wording))
    if images == 1:
        return ids
    image, one = text.answer_ids(prompt_format.image_token)[-1], ids
    ids = text.prompt_ids(prompt_text(prompt_format, kind, names, wording, images))
    if ids.count(image) != images * one.count(image):
        raise QueryError(
            f"images: the text processor {type(text).__name__} takes one image, got {images}; make it put in the image "
            "tokens of each, or ask about one image"
        )
    return ids


def prompt_text(prompt_format: PromptFormat, kind: str, names: Sequence[str], wording: int = 0, images: int = 1) -> str:
    """Return the text of a prompt, with a token for each image.

    Args:
        prompt_format: How prompts are written.
        kind: Kind of the query.
        names: The names asked for.
        wording: Number of the wording.
        images: Number of images.

    Raises:
        QueryError: If the prompt format takes only one image, and there are several.
    """
    prompt = prompt_format.prompt(kind, names, wording)
    if images == 1:
        return prompt
    if prompt_format.image_separator is None:
        raise QueryError(f"images: the prompt format takes one image, got {images}; set its `image_separator`")
    token = prompt_format.image_token
    return prompt.replace(token, prompt_format.image_separator.join([token] * images))
