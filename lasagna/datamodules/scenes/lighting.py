"""From flat paint to a photograph: texture, a lighting gradient, white balance, grain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lasagna.datamodules.scenes.vocabulary import STUFF

if TYPE_CHECKING:
    from numpy.typing import NDArray

# How rough each stuff looks, in grey levels; things are smooth.
_ROUGHNESS = {"brick wall": 9.0, "grass": 8.0, "sand": 6.0, "snow": 2.5, "sea": 4.0, "mountain": 7.0, "road": 7.0}
_BY_CODE = np.full(256, 2.0, dtype=np.float32)
_BY_CODE[: len(STUFF)] = [_ROUGHNESS.get(name, 0.0) for name in STUFF]


def light_up(rng: np.random.Generator, picture: Image.Image, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn a flat picture into a lit and grainy one.

    Args:
        rng: Source of all choices.
        picture: RGB at final size.
        codes: Label codes at final size, stuff below `len(STUFF)`.

    Returns:
        uint8 `[size, size, 3]`.
    """
    size = picture.width
    pixels = np.asarray(picture, dtype=np.float32)
    rough = _BY_CODE[codes] * (0.6 * _noise(rng, size) + _patches(rng, size))
    gain = _gradient(rng, size)[:, :, None] * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    grain = rng.uniform(1.5, 4.0) * rng.standard_normal((size, size, 3), dtype=np.float32)
    lit: NDArray[np.float32] = (pixels + rough[:, :, None]) * gain + grain
    return lit.clip(0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    return rng.standard_normal((size, size), dtype=np.float32)


def _patches(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    coarse = Image.fromarray(_noise(rng, 12))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BILINEAR))


def _gradient(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.13)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    slope: NDArray[np.float32] = np.float32(np.cos(angle)) * ramp[:, None] + np.float32(np.sin(angle)) * ramp
    return slope * np.float32(depth / np.sqrt(2)) + np.float32(1)
