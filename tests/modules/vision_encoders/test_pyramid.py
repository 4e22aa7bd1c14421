"""A feature pyramid on encoders with one map, with several layers, and with finer maps."""

from __future__ import annotations

import pytest
import torch

from lasagna.core.config import build, config_of
from lasagna.errors import ConfigError
from lasagna.modules import FeaturePyramid, FeatureSpec, SharedTower, TimmEncoder, VisionEncoder
from tests.helpers.parts import built

SIZE = (64, 96)
PIXELS = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))


def encoder(model, **settings):
    return TimmEncoder(model, image_size=SIZE, frozen=True, **settings)


@pytest.mark.parametrize(
    ("model", "settings", "sources"),
    [
        ("test_vit", {}, [(0, 0), (0, 1), (0, 2)]),
        ("test_vit", {"layers": (1, 3, 5)}, [(0, 0), (1, 1), (2, 2)]),
        ("test_vit", {"layers": (2, 5)}, [(0, 0), (1, 1), (1, 2)]),
        ("test_resnet", {}, [(0, 0), (1, 0), (2, 0)]),
        ("test_resnet", {"out_indices": (1, 3)}, [(0, 0), (0, 1), (1, 0)]),
    ],
)
def test_levels_come_from_the_maps_of_their_stride_or_the_next_coarser_one(model, settings, sources):
    pyramid = built(FeaturePyramid(encoder(model, **settings), channels=24))
    assert pyramid.sources == sources
    assert pyramid.spec == FeatureSpec((24, 24, 24), (16, 8, 4), SIZE)
    maps = pyramid(PIXELS)
    assert [tuple(level.shape[1:]) for level in maps] == [(24, 4, 6), (24, 8, 12), (24, 16, 24)]


def test_the_pyramid_learns_on_a_frozen_encoder_and_joins_its_levels():
    pyramid = built(FeaturePyramid(encoder("test_vit", layers=(1, 5)), channels=24)).train()
    maps = pyramid(PIXELS)
    maps[-1].square().mean().backward()
    names = {name.split(".")[0] for name, value in pyramid.named_parameters() if value.grad is not None}
    assert names == {"rises", "network"}
    # the finest level reads the coarsest one as well, from above
    assert pyramid.network.inner_blocks[-1][0].weight.grad.abs().sum() > 0
    assert not pyramid.encoder.training


def test_a_checkpoint_can_say_how_to_make_it():
    pyramid = build(config_of(FeaturePyramid(encoder("test_vit"), finest=8)), VisionEncoder)
    pyramid.build()
    assert pyramid.spec == FeatureSpec((128, 128), (16, 8), SIZE)


def test_what_carries_no_pyramid():
    with pytest.raises(ConfigError, match="encoder: SharedTower gives its map to the language model as it is"):
        FeaturePyramid(SharedTower())
    with pytest.raises(ConfigError, match="channels: expected a whole number of at least 1, got 0"):
        FeaturePyramid(encoder("test_vit"), channels=0)
