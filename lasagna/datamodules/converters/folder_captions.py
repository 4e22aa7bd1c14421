"""Captions of a user's own data, whose phrases are given by their words."""

from __future__ import annotations

from collections.abc import Sequence

from lasagna.errors import RecordError


def caption_spans(text: str, phrases: Sequence[str], where: str) -> list[tuple[int, int]]:
    """Return begin and end of each phrase in a caption; a phrase is looked for behind the one before it.

    Args:
        text: The caption.
        phrases: The words of each phrase, in the order of the caption.
        where: File and line of the caption, for messages.

    Raises:
        RecordError: If a phrase does not stand there.
    """
    spans, end = list[tuple[int, int]](), 0
    for rank, phrase in enumerate(phrases):
        begin = text.find(phrase, end)
        if begin < 0:
            behind = f" behind {phrases[rank - 1]!r}" if rank else ""
            raise RecordError(
                f"{where}: phrases[{rank}]: {phrase!r} does not stand in {text[:60]!r}{behind}; give the words of each "
                "phrase as they stand there, in their order"
            )
        end = begin + len(phrase)
        spans.append((begin, end))
    return spans
