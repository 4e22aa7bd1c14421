"""Transforms of torchvision, by config."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import torch
from jsonargparse.typing import register_type
from numpy.typing import NDArray
from torchvision import tv_tensors
from torchvision.transforms.v2 import Compose, Transform

from lasagna.datamodules.transforms.library import LibraryTransform
from lasagna.datamodules.transforms.words import PhraseRule
from lasagna.errors import ConfigError


def _number(value: Any) -> int | float:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected a number, got {value!r}")
    return value


# torchvision states this type for angles and colours; the parser reads it, but cannot store it in a run's config
register_type(Number, serializer=_number, deserializer=_number, fail_already_registered=False)


class Torchvision(LibraryTransform):
    """Transforms of ``torchvision.transforms.v2`` on the images and all masks of a record at once.

    They are a function of seed, epoch and record key: torchvision draws from torch's generator of the CPU, which is
    seeded for each record and restored afterwards.

    Args:
        transforms: One transform or several, in order.
        phrases: Which phrases stay with a part of the image, as for ``RandomCrop``.

    Raises:
        ConfigError: If one is of torchvision's first version, or the transforms do not work together (see
            ``LibraryTransform``).
    """

    remedy = "The image processor of the vision encoder scales and normalises; leave such transforms out"

    def __init__(self, transforms: Transform | list[Transform], phrases: PhraseRule = "drop") -> None:
        chain = list(transforms) if isinstance(transforms, list | tuple) else [transforms]
        for transform in chain:
            if not isinstance(transform, Transform):
                raise ConfigError(
                    f"Torchvision: `transforms` takes torchvision.transforms.v2, which moves masks too, got {transform}"
                )
        self.chain = Compose(chain) if chain else None
        super().__init__(phrases)

    def change(
        self, images: Sequence[NDArray[np.uint8]], planes: NDArray[np.float32], seed: int
    ) -> tuple[list[Any], Any]:
        """Change images and a mask with the same random parameters."""
        given = [tv_tensors.Image(torch.from_numpy(np.array(image)).permute(2, 0, 1)) for image in images]
        mask = tv_tensors.Mask(torch.from_numpy(planes).permute(2, 0, 1))
        # `torch.manual_seed` would also seed the generators of accelerators, which nothing restores
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(seed)
            changed = self.chain([*given, mask]) if self.chain is not None else [*given, mask]
        *found, moved = (_array(tensor) for tensor in changed)
        return found, moved


def _array(tensor: Any) -> Any:  # noqa: ANN401
    is_picture = isinstance(tensor, torch.Tensor) and tensor.ndim == 3
    return tensor.permute(1, 2, 0).contiguous().numpy() if is_picture else tensor
