"""From a record's dialogues to tensors: tokens with labels, and masks in the encoder's geometry.

Notation: H, W: the vision encoder's input size in pixels; h, w: the image's own size; n: masks; t: tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.batch import IGNORE_LABEL, IGNORE_PIXEL, Geometry, Preparation, fit_mask
from lasagna.dialogue import Dialogue
from lasagna.errors import QueryError
from lasagna.masks import LabelMap, LabelMask, Mask


@dataclass(frozen=True)
class Row:
    """One dialogue as tokens and mask targets.

    Args:
        dialogue: The dialogue with its masks in the image's own size.
        input_ids: Prompt, answer and end token.
        labels: ``input_ids`` where supervised, else -100.
        mask_positions: Positions of the present tokens, one a mask.
        mask_targets: Masks in the encoder's geometry, uint8 ``[n, H, W]``: 0, 1, or 255 for ignored.
    """

    dialogue: Dialogue
    input_ids: list[int]
    labels: list[int]
    mask_positions: list[int]
    mask_targets: Tensor


@dataclass(frozen=True)
class PreparedSample:
    """One image with its dialogues, ready to be put into a batch.

    Args:
        source: Name of the source.
        key: Key of the record.
        pixels: Input of the vision encoder, float ``[3, H, W]``.
        geometry: How the image was fitted.
        rows: The dialogues.
        tower_pixels: Input of the language model's own visual tower, or None.
        image: The image as it was, uint8 ``[h, w, 3]``, where scores and pictures need it, else None.
    """

    source: str
    key: str
    pixels: Tensor
    geometry: Geometry
    rows: tuple[Row, ...]
    tower_pixels: Tensor | None = None
    image: NDArray[np.uint8] | None = None


def prepare_sample(
    image: NDArray[np.uint8],
    dialogues: Sequence[Dialogue],
    preparation: Preparation,
    *,
    source: str = "",
    key: str = "",
    keep_image: bool = False,
) -> PreparedSample:
    """Turn an image and its dialogues into tensors.

    Args:
        image: uint8 ``[h, w, 3]``.
        dialogues: The dialogues about it.
        preparation: How the assistant wants images and text.
        source: Name of the source.
        key: Key of the record.
        keep_image: Whether to keep the image as it was.

    Raises:
        QueryError: If a query cannot be asked, or is longer with its answer than the language model takes.
    """
    geometry = preparation.image.geometry((image.shape[0], image.shape[1]))
    fitting = _Fitting(geometry)
    return PreparedSample(
        source=source,
        key=key,
        pixels=preparation.image.pixels(image),
        geometry=geometry,
        rows=tuple(_row(dialogue, preparation, fitting) for dialogue in dialogues),
        tower_pixels=None if preparation.tower is None else preparation.tower.pixels(image),
        image=image if keep_image else None,
    )


def _row(dialogue: Dialogue, preparation: Preparation, fitting: _Fitting) -> Row:
    prompt_format, text = preparation.prompt_format, preparation.text
    prompt_format.check(dialogue.kind, dialogue.query)
    prompt = text.prompt_ids(prompt_format.prompt(dialogue.kind, dialogue.query))
    answer = [*text.answer_ids(prompt_format.answer(dialogue)), text.end_token_id]
    _check_length(dialogue, len(prompt), len(answer), text.max_length)
    return Row(
        dialogue=dialogue,
        input_ids=prompt + answer,
        labels=[IGNORE_LABEL] * len(prompt) + answer,
        mask_positions=[len(prompt) + place for place in _present_positions(dialogue, answer, preparation)],
        mask_targets=fitting.targets(dialogue),
    )


def _check_length(dialogue: Dialogue, prompt: int, answer: int, limit: int) -> None:
    if prompt + answer > limit:
        raise QueryError(
            f"query: {len(dialogue.query)} names ({dialogue.query[0]!r}, ...) make {prompt} tokens and their answer "
            f"{answer}, together {prompt + answer}; the language model takes at most {limit}. Ask for fewer names "
            "(ClassSampling limits them) or choose a model with a longer context"
        )


def _present_positions(dialogue: Dialogue, answer: list[int], preparation: Preparation) -> list[int]:
    """Return the positions of the present tokens in the answer, of which there must be one an entry with a mask."""
    if dialogue.kind == "question":
        return []
    [token] = preparation.text.answer_ids(preparation.prompt_format.present_token)
    places = [place for place, token_id in enumerate(answer) if token_id == token]
    present = [entry for entry in dialogue.entries if entry.present]
    assert len(places) == len(present), f"{len(places)} present tokens for {len(present)} present entries"
    return [place for place, entry in zip(places, present, strict=True) if entry.mask is not None]


class _Fitting:
    """Fits the masks of one image; a label map that many masks share is resized once for all of them."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._maps: dict[int, LabelMap] = {}
        self._fitted: dict[int, tuple[Mask, Tensor]] = {}  # the masks are kept, so that their ids stay theirs

    def targets(self, dialogue: Dialogue) -> Tensor:
        """Return the targets of a dialogue's masks, uint8 ``[n, H, W]``."""
        masks = [entry.mask for entry in dialogue.entries if entry.present and entry.mask is not None]
        count = 0 if dialogue.kind == "question" else len(masks)
        targets = torch.empty((count, *self.geometry.padded), dtype=torch.uint8)
        for target, mask in zip(targets, masks[:count], strict=True):
            self._write(mask, target)
        if count and dialogue.ignore is not None:
            ignored = torch.empty(self.geometry.padded, dtype=torch.uint8)
            self._write(dialogue.ignore, ignored)
            targets.masked_fill_(ignored == 1, IGNORE_PIXEL)
        return targets

    def _write(self, mask: Mask, target: Tensor) -> None:
        """Write a mask into its place: a label map's straight from the resized map, others once fitted and kept."""
        if isinstance(mask, LabelMask) and len(mask.values) == 1:
            height, width = self.geometry.resized
            target[height:] = IGNORE_PIXEL
            target[:height, width:] = IGNORE_PIXEL
            place = target.numpy()[:height, :width].view(np.bool_)
            np.equal(self._map(mask.label_map).pixels, mask.values[0], out=place)
            return
        if id(mask) not in self._fitted:
            self._fitted[id(mask)] = mask, self._fit(mask)
        target.copy_(self._fitted[id(mask)][1])

    def _fit(self, mask: Mask) -> Tensor:
        if isinstance(mask, LabelMask):
            resized = self._map(mask.label_map).mask(mask.values)
            return fit_mask(resized.decode(), replace(self.geometry, original=self.geometry.resized))
        return fit_mask(mask.decode(), self.geometry)

    def _map(self, original: LabelMap) -> LabelMap:
        """Return a label map in the size of the resized image."""
        if self.geometry.resized == self.geometry.original:
            return original
        if id(original) not in self._maps:
            rows, columns = map(_nearest, self.geometry.original, self.geometry.resized)
            self._maps[id(original)] = LabelMap(original.pixels[rows[:, None], columns])
        return self._maps[id(original)]


def _nearest(length: int, resized: int) -> NDArray[np.int64]:
    """Return which of some cells each resized one shows, by the rule that ``fit_mask`` follows."""
    ramp = torch.arange(length, dtype=torch.float64)[None, None]
    return torch.nn.functional.interpolate(ramp, size=resized, mode="nearest-exact")[0, 0].numpy().astype(np.int64)
