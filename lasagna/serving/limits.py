"""What a server takes from its clients at most, and how it refuses the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite

from lasagna.errors import ConfigError, LasagnaError


class RequestError(LasagnaError):
    """A request that is refused.

    Args:
        status: HTTP status of the response.
        message: What is wrong and what is allowed; says nothing about the machine.
        headers: Further headers of the response.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Limits:
    """What a server takes at most; each limit is answered by a status of its own.

    Args:
        body: Bytes of a request (413). Base64 makes an image a third larger.
        pixels: Pixels of an image, or of all that are shown together; those in the header are compared before it is
            decoded (413).
        shown: Images that are shown together (422).
        mask_pixels: Pixels of an image times names that are asked for, bytes of memory that the masks of a request or
            of a batch may take (413). A name whose objects are told apart counts as eight.
        queries: Queries of a request (422).
        names: Names of a request, all queries together (422).
        characters: Characters of a name, a phrase, a question or an answer of the history (422).
        turns: Earlier turns of a conversation (422).
        seconds: Time for sending a request, and again for its answer (408).
        requests: Requests that are read, wait or are answered at a time; beyond, the status is 503.
        batch: Requests that are answered together.
        images: Encoded images that are kept; the one that was used the longest ago goes first.
        image_bytes: Bytes of the encoded images that are kept.

    Raises:
        ConfigError: If a limit is not above zero.
    """

    body: int = 20_000_000
    pixels: int = 32_000_000
    shown: int = 8
    mask_pixels: int = 2_000_000_000
    queries: int = 8
    names: int = 512
    characters: int = 1000
    turns: int = 32
    seconds: float = 60.0
    requests: int = 32
    batch: int = 8
    images: int = 64
    image_bytes: int = 1_000_000_000

    def __post_init__(self) -> None:
        """Check that something is allowed."""
        for limit in fields(self):
            value = getattr(self, limit.name)
            if not (isfinite(value) and value > 0):
                raise ConfigError(f"limits.{limit.name}: expected a number above 0, got {value}")
