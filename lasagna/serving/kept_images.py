"""Encoded images that a server keeps, to be asked about by their ids."""

from __future__ import annotations

from collections import OrderedDict
from secrets import token_urlsafe

from lasagna.serving.jobs import StoredImage
from lasagna.serving.limits import Limits, RequestError


class KeptImages:
    """The encoded images of one process; those that were used the longest ago go when others need their place.

    Args:
        limits: How many are kept.
        worker: What tells this process from others that serve on the same port; None if there are none.
    """

    def __init__(self, limits: Limits, worker: str | None = None) -> None:
        self.limits = limits
        self.worker = worker
        self._images: OrderedDict[str, StoredImage] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._images)

    def add(self, image: StoredImage) -> str:
        """Keep an image and return its id."""
        # nobody can guess an id, so that clients reach only their own images
        key = token_urlsafe(16) if self.worker is None else f"{self.worker}.{token_urlsafe(16)}"
        self._images[key] = image
        while len(self._images) > 1 and (
            len(self._images) > self.limits.images
            or sum(kept.size for kept in self._images.values()) > self.limits.image_bytes
        ):
            self._images.popitem(last=False)
        return key

    def get(self, key: str) -> StoredImage:
        """Return an image.

        Raises:
            RequestError: If there is none of this id; another process that serves on the same port may have it.
        """
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        if self.worker is not None and key.partition(".")[0] != self.worker:
            raise RequestError(
                404,
                "image_id: another of this server's processes keeps it, if any does; ask over the connection that sent "
                "it, or send the image with each request",
            )
        raise RequestError(404, "image_id: no image of this id is kept; send it to `POST /v1/images` again")

    def drop(self, key: str) -> None:
        """Drop an image.

        Raises:
            RequestError: If there is none of this id.
        """
        self.get(key)
        del self._images[key]
