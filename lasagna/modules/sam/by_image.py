"""Prompts decoded image by image, some at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def draw_by_image(draw: Callable[[int, Tensor], Tensor], image_index: Tensor, images: int, chunk: int) -> Tensor:
    """Draw masks of prompts that are about several images.

    The prompts of one call are all about one image, so that nothing of the image is repeated for them.

    Args:
        draw: From an image and the places of some of its prompts, long ``[m]``, their masks ``[m, h, w]``.
        image_index: Which image each prompt is about, long ``[n]``.
        images: Number of images.
        chunk: Most prompts drawn at once, which bounds the memory.

    Returns:
        The masks in the order of the prompts, float ``[n, h, w]``.
    """
    order = image_index.argsort(stable=True)
    own = order.split(image_index.bincount(minlength=images).tolist())
    masks = [draw(image, part) for image, places in enumerate(own) for part in places.split(chunk) if len(part)]
    # without prompts, no masks that still depend on what draws them, so that every parameter gets a gradient of zeros
    return torch.cat(masks or [draw(0, order)])[order.argsort()]
