"""Images of a command line that are read, and answered some at a time."""

# without `from __future__ import annotations`, as `predict` has it
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lasagna.core.tiles import Tiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.core.answer import Answer
    from lasagna.core.batch import Query
    from lasagna.core.dialogue import Decoding
    from lasagna.core.tiff import Georeference
    from lasagna.modules.assistant import Assistant

_MASK_BYTES = 500_000_000
"""Bytes that the masks of images that are answered together may take."""


@dataclass(frozen=True)
class ReadImage:
    """An image that is read, or several that are shown together.

    Args:
        paths: Their files, in order.
        shown: Their pixels, each uint8 ``[H, W, 3]``.
        place: Where on a map the one with the masks lies, or None.
    """

    paths: Sequence[Path]
    shown: "Sequence[NDArray[np.uint8]]"
    place: "Georeference | None"


@dataclass
class AskedImages:
    """What is asked about images, and how many are answered together.

    Args:
        assistant: The assistant.
        queries: The queries.
        decoding: How to decode.
        masks_on: Position of the image that masks belong to.
        tiles: How images are divided; None to answer each as a whole.
        wanted: Images that are answered together; None for as many as are fastest.
    """

    assistant: "Assistant"
    queries: "Sequence[Query]"
    decoding: "Decoding"
    masks_on: int = -1
    tiles: Tiles | None = None
    wanted: int | None = None

    def __post_init__(self) -> None:
        """Choose how many are answered together."""
        from lasagna.modules.decoding.together import images_together

        together = self.wanted or images_together(self.assistant, self.queries)
        self.batch = together if self.tiles is None else 1

    def answers(self, images: Iterable[ReadImage | None]) -> "Iterator[tuple[ReadImage, list[Answer]]]":
        """Yield each image with its answers.

        Args:
            images: The images in order; None for one that cannot be read.
        """
        group = list[ReadImage]()
        for image in images:
            if image is not None and group and self._bytes([*group, image]) > _MASK_BYTES:
                yield from self._answered(group)
                group = []
            group += [] if image is None else [image]
            if len(group) >= self.batch:
                yield from self._answered(group)
                group = []
        if group:
            yield from self._answered(group)

    def _bytes(self, group: Sequence[ReadImage]) -> int:
        names = sum(len(query.names) for query in self.queries)
        return names * sum(image.shown[self.masks_on][..., 0].size for image in group)

    def _answered(self, group: Sequence[ReadImage]) -> "Iterator[tuple[ReadImage, list[Answer]]]":
        """Answer together; if that fails, one by one from then on, since the memory may not suffice for more."""
        from lasagna.modules.decoding.visual_prompts import check_visual

        for image in group:
            check_visual(self.assistant.mask_head, self.queries, [image.shown[self.masks_on].shape[:2]])
        try:
            found = self._ask(group)
        except Exception:
            if len(group) < 2:
                raise
            self.batch = 1
            for image in group:
                yield image, self._ask([image])[0]
            return
        yield from zip(group, found, strict=True)

    def _ask(self, group: Sequence[ReadImage]) -> "list[list[Answer]]":
        from lasagna.modules.decoding.tiles import answer_tiles
        from lasagna.modules.decoding.together import answer_together

        if self.tiles is None:
            shown = [list(image.shown) for image in group]
            return answer_together(self.assistant, shown, self.queries, self.decoding, self.masks_on)
        from rich.progress import track

        found = []
        for image in group:
            progress = partial(track, description=f"Tiles of {image.paths[self.masks_on].name}")
            whole = image.shown[0]
            asked = (self.assistant, whole, self.queries, self.tiles, self.decoding)
            found.append(answer_tiles(*asked, checked=True, progress=progress))
        return found
