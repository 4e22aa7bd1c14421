"""Where the names of a query stand among the tokens of its prompt."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from lasagna.core.image_prompts import prompt_text
from lasagna.core.processors import TextProcessor
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.query_kind import KINDS, QueryKind
from lasagna.errors import ConfigError

_QUERY = "\0"
"""Stands for the names in prompts of which only the other text matters."""


@runtime_checkable
class LocatedText(Protocol):
    """A text processor that knows which characters its tokens stand for."""

    def characters_behind(self, text: str) -> list[int] | None:
        """Return how many characters of a prompt follow each token of ``prompt_ids``, or None if that is not known.

        Args:
            text: The prompt. Tokens before and of the image may have any number that is not smaller than those behind.
        """


def name_places(
    text: TextProcessor, prompt_format: PromptFormat, kind: str, names: Sequence[str], wording: int = 0, images: int = 1
) -> tuple[list[int], int]:
    """Return the position of the token that holds the last character of each name, and the number of a prompt's tokens.

    A text processor that is no ``LocatedText`` turns the prompt into tokens again up to each name.

    Args:
        text: The language model's text processor.
        prompt_format: How prompts are written, with the names behind the image (``check_names_behind_image``).
        kind: Kind of the query.
        names: The names asked for.
        wording: Number of the wording.
        images: Number of images.
    """
    prompt = prompt_text(prompt_format, kind, names, wording, images)
    wanted = _characters_behind(prompt_format, kind, names, wording)
    known = text.characters_behind(prompt) if isinstance(text, LocatedText) else None
    if known is None:
        ids = text.prompt_ids(prompt)
        return [_last_shared(ids, text.prompt_ids(prompt[: len(prompt) - count])) for count in wanted], len(ids)
    ends = [-count for count in known]
    firsts = (bisect_left(ends, -count) for count in wanted)
    # some characters take several tokens, each of which stands for it
    return [bisect_right(ends, ends[first]) - 1 for first in firsts], len(known)


def _characters_behind(prompt_format: PromptFormat, kind: str, names: Sequence[str], wording: int) -> list[int]:
    """Return how many characters of a prompt follow each name; where it has the names twice, the second time."""
    behind = len(prompt_format.prompt(kind, [_QUERY], wording).rpartition(_QUERY)[2])
    counts = []
    for name in reversed(names):
        counts.append(behind)
        behind += len(prompt_format.name_separator + " ".join(name.split()))
    return counts[::-1]


def _last_shared(ids: Sequence[int], start: Sequence[int]) -> int:
    """Return the position of the last token of a row's start, which may be one token with what follows in the row."""
    differ = (place for place, (one, other) in enumerate(zip(ids, start, strict=False)) if one != other)
    return next(differ, min(len(ids), len(start)) - 1)


def names_behind_image(prompt_format: PromptFormat, kind: str, wording: int = 0) -> bool:
    """Return whether the names of a prompt follow the image.

    Args:
        prompt_format: How prompts are written.
        kind: Kind of the query.
        wording: Number of the wording.
    """
    return prompt_format.image_token in prompt_format.prompt(kind, [_QUERY], wording).rpartition(_QUERY)[0]


def check_names_behind_image(
    prompt_format: PromptFormat, owner: str, kinds: Iterable[QueryKind] = tuple(KINDS.values())
) -> None:
    """Check that in all prompts whose answers decide on names these follow the image.

    Args:
        prompt_format: How prompts are written.
        owner: What needs it, for the message.
        kinds: The kinds whose prompts are checked; those of the package unless given.

    Raises:
        ConfigError: If names stand before the image.
    """
    for kind in kinds:
        if kind not in prompt_format.prompts or not kind.decides:
            continue
        wordings = range(1 + len(prompt_format.further_prompts.get(kind, ())))
        if not all(names_behind_image(prompt_format, kind, wording) for wording in wordings):
            raise ConfigError(
                f"prompt_format: the prompt of {str(kind)!r} has its names before the image, so that `{owner}` would "
                f"decide on them blindly; write {{query}} behind {prompt_format.image_token!r}, or leave out `{owner}`"
            )
