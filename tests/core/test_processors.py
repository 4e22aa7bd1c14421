"""Images that travel as bytes become the very floats that computing with every pixel gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lasagna.core.processors import FittedImage, Normalisation, _gather, normalise, prepare
from lasagna.modules.image_processors import (
    DEVIATION,
    MEAN,
    CropImageProcessor,
    PadImageProcessor,
    SamImageProcessor,
    SquashImageProcessor,
)

COLOURS = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
PREPARATIONS = [
    SquashImageProcessor((16, 24), *COLOURS),
    PadImageProcessor((16, 24), *COLOURS),
    SamImageProcessor(32),
    CropImageProcessor(16, *COLOURS),
]


def picture(height: int = 9, width: int = 12) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Brightened(SquashImageProcessor):
    """A preparation of somebody's own, which changes the floats."""

    def pixels(self, image):
        return super().pixels(image) + 1


def test_a_fitted_image_is_normalised_and_padded_as_sam_does_it():
    [pixels] = normalise([SamImageProcessor(32).fitted(picture())])
    resized = SamImageProcessor(32).fitted(picture()).values
    plain = (resized.float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
    assert torch.equal(pixels[:, :24], plain)
    assert pixels.shape == (3, 32, 32) and (pixels[:, 24:] == 0).all()


@pytest.mark.parametrize("processors", PREPARATIONS)
def test_what_is_prepared_in_a_worker_becomes_what_is_prepared_at_once(processors):
    pictures = [picture(), picture(20, 10)]
    fitted = [prepare(processors, image) for image in pictures]
    assert all(isinstance(image, FittedImage) and image.values.dtype == torch.uint8 for image in fitted)
    assert torch.equal(normalise(fitted), torch.stack([processors.pixels(image) for image in pictures]))


def test_the_floats_are_the_same_where_half_precision_is_the_default():
    rule = Normalisation((0.11, 0.22, 0.33), (0.44, 0.55, 0.66))  # of no other test, whose tables would be kept
    fitted = FittedImage.of(picture(), rule, (16, 16))
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        found = normalise([fitted])
    finally:
        torch.set_default_dtype(default)
    plain = (fitted.values / 255 - torch.tensor(rule.mean)[:, None, None]) / torch.tensor(rule.std)[:, None, None]
    assert found.dtype == torch.float32 and torch.equal(found[0, :, :9, :12], plain)


def test_pixels_of_somebodys_own_are_kept():
    own = Brightened((16, 24), *COLOURS)
    prepared = prepare(own, picture())
    assert isinstance(prepared, torch.Tensor)
    assert torch.equal(prepared, PREPARATIONS[0].pixels(picture()) + 1)


def test_a_fitted_image_shares_no_memory_with_a_read_only_one():
    image = picture(16, 24)
    image.setflags(write=False)
    fitted = PREPARATIONS[0].fitted(image)
    fitted.values.fill_(0)
    assert image.any()


@pytest.mark.parametrize("processors", PREPARATIONS)
def test_other_devices_look_bytes_up_as_the_processor_does(processors):
    fitted = processors.fitted(picture())
    target = torch.empty(3, *fitted.values.shape[1:])
    _gather(fitted, target)
    assert torch.equal(target, normalise([fitted])[0, :, : target.shape[1], : target.shape[2]])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("processors", PREPARATIONS)
def test_other_devices_give_the_same_floats(processors):
    fitted = processors.fitted(picture())
    assert torch.equal(normalise([fitted.to("cuda")]).cpu(), normalise([fitted]))
