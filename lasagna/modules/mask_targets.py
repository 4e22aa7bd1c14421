"""The masks that a batch's mask logits are compared with, at two resolutions.

Notation: n: masks of the group; H, W: size at which logits and targets meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.batch import IGNORE_PIXEL, Batch
from lasagna.core.dialogue import Dialogue
from lasagna.modules.resampling import resample

Ignored = Literal["left_out", "background"]
"""What becomes of ignored pixels: they count nowhere, or they count as outside of every mask."""

MaskGroup = tuple[Tensor, Tensor]
"""Logits, float ``[n, H, W]``, and targets, uint8 ``[n, H, W]``: 0, 1, or 255 for pixels that do not count."""


def at_input(logits: Tensor, batch: Batch, ignored: Ignored) -> Iterator[MaskGroup]:
    """Compare all masks in the vision encoder's geometry; its padding never counts.

    Args:
        logits: Logits of the batch's masks, float ``[n, h', w']``, resized to the input's size.
        batch: The batch.
        ignored: What becomes of ignored pixels.
    """
    targets = batch.mask_targets
    if len(targets) == 0:
        return
    if ignored == "background":
        targets = targets.clone()
        for target, image in zip(targets, batch.image_index[batch.mask_rows].tolist(), strict=True):
            height, width = batch.geometries[image].resized
            target[:height, :width].masked_fill_(target[:height, :width] == IGNORE_PIXEL, 0)
    size = (targets.shape[1], targets.shape[2])
    yield torch.nn.functional.interpolate(logits[:, None].float(), size=size, mode="bilinear")[:, 0], targets


def at_image(logits: Tensor, batch: Batch, ignored: Ignored) -> Iterator[MaskGroup]:
    """Compare the masks of one image after the other in the image's own size, as the original does.

    What the vision encoder's input does not show of an image never counts.

    Args:
        logits: Logits of the batch's masks, float ``[n, h', w']``, which cover the padded input.
        batch: The batch; its samples hold the masks in the images' own sizes.
        ignored: What becomes of ignored pixels.
    """
    images = batch.image_index[batch.mask_rows]
    for image in images.unique().tolist():
        dialogues = [sample.dialogue for sample in batch.samples if sample.image == image]
        targets = np.stack([target for dialogue in dialogues for target in _own_targets(dialogue, ignored)])
        geometry = batch.geometries[image]
        shown = np.ascontiguousarray(targets[:, *geometry.shown])
        yield resample(logits[images == image], geometry), torch.from_numpy(shown).to(logits.device)


def _own_targets(dialogue: Dialogue, ignored: Ignored) -> list[NDArray[np.uint8]]:
    """Return the masks of a dialogue in the image's own size, each uint8 ``[h, w]``."""
    masks = [entry.mask.decode() for entry in dialogue.entries if entry.present and entry.mask is not None]
    targets = [mask.astype(np.uint8) for mask in masks]
    if targets and ignored == "left_out" and dialogue.ignore is not None:
        void = dialogue.ignore.decode()
        for target in targets:
            target[void] = IGNORE_PIXEL
    return targets
