"""JSON from elsewhere: whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:  # noqa: ANN401
    """Return the content of JSON.

    Args:
        text: The JSON; bytes are UTF-8.

    Raises:
        ValueError: If it is not JSON, is nested more deeply than Python reads, or has half of a character in a text.
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    check_characters(content, text)
    return content


def check_characters(content: Any, text: str | bytes) -> None:  # noqa: ANN401
    """Check that no text in JSON has half of a character (a surrogate alone), which is valid and cannot be written.

    Args:
        content: The content.
        text: The JSON that it was read from.

    Raises:
        ValueError: If a text has one.
    """
    marks = (b"\\ud", b"\\uD") if isinstance(text, bytes) else ("\\ud", "\\uD")
    if any(mark in text for mark in marks):  # type: ignore[operator]
        try:
            json.dumps(content, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{error.object[error.start]!r} is half of a character in a text") from error
