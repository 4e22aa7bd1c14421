"""One image or several that are shown together, from arrays to what the assistant encodes and the language model reads.

Notation: b: images that are asked about; k: images that are shown together; i: image tokens; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.geometry import Geometry
from lasagna.core.image_places import LAST, in_order, place_of
from lasagna.core.processors import Processors
from lasagna.modules.base import LanguageModel
from lasagna.modules.contract import check_image
from lasagna.modules.encoded_images import EncodedImages
from lasagna.modules.state import precision_of

Images = NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
"""An image, uint8 ``[H, W, 3]``, or several that are shown together, in order."""


def image_count(images: Images) -> int:
    """Return the number of images that are shown together."""
    return len(_every(images))


def image_size(images: Images, masks_on: int = LAST) -> tuple[int, int]:
    """Return height and width of the image that masks belong to.

    Raises:
        RecordError: If it is not an array of the expected form, or ``masks_on`` is no position among the images.
    """
    every = _every(images)
    annotated = every[place_of(masks_on, len(every), "image")]
    check_image(annotated)
    return annotated.shape[0], annotated.shape[1]


def prepare_images(
    processors: Processors, images: Images, masks_on: int = LAST, device: torch.device | str = "cpu"
) -> tuple[tuple[Tensor, Tensor | None, Tensor | None], Geometry]:
    """Prepare images that are shown together.

    Args:
        processors: The assistant's processors.
        images: The image or images.
        masks_on: Position of the one that masks belong to.
        device: Where the results are to be.

    Returns:
        The arguments of ``Assistant.encode`` (pixels, tower pixels and the order of the images), and the geometry of
        the image that masks belong to.

    Raises:
        RecordError: If an image is not an array of the expected form, or ``masks_on`` is no position among them.
    """
    every = _every(images)
    for image in every:
        check_image(image)
    place = place_of(masks_on, len(every), "image")
    annotated = every.pop(place)
    pixels, towers = [processors.image.pixels(annotated)], list[Tensor]()
    if processors.tower is not None:
        towers = [processors.tower.pixels(image) for image in (annotated, *every)]
    else:
        pixels += [processors.image.pixels(image) for image in every]
    shown = torch.tensor([in_order(0, range(1, len(every) + 1), place)]) if every else None
    size = annotated.shape[0], annotated.shape[1]
    tower = torch.stack(towers).to(device) if towers else None
    return (torch.stack(pixels).to(device), tower, shown), processors.image.geometry(size)


def image_vectors(model: LanguageModel, features: list[Tensor], tower_pixels: Tensor | None, shared: bool) -> Tensor:
    """Return what the language model reads of each image, float ``[b', i, d]``.

    Args:
        model: The language model.
        features: The vision encoder's maps.
        tower_pixels: Input of the model's own visual tower, if it has one that is not shared.
        shared: Whether the vision encoder is that tower.
    """
    if shared:
        return model.embed_map(features[0])
    # the parts may have different precisions
    return model.embed_image(features if tower_pixels is None else [tower_pixels.to(precision_of(model))])


def join_images(features: list[Tensor], vectors: Tensor, shown: Tensor | None) -> EncodedImages:
    """Put the vectors of images that are shown together one after the other.

    Args:
        features: Maps of the images that are asked about, perhaps followed by those of the others.
        vectors: What the language model reads of each image, float ``[b', i, d]``.
        shown: Positions of the images that are shown together, long ``[b, k]``; None if each is shown alone.

    Returns:
        The maps of the ``b`` images, and vectors ``[b, k*i, d]``.
    """
    if shown is None:
        return EncodedImages(features, vectors)
    count = len(shown)
    return EncodedImages([maps[:count] for maps in features], vectors[shown.to(vectors.device)].flatten(1, 2))


def _every(images: Images) -> list[NDArray[np.uint8]]:
    return [images] if isinstance(images, np.ndarray) or not isinstance(images, Sequence) else list(images)
