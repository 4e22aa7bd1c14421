"""Features that are kept on disk are those that were computed."""

from __future__ import annotations

import gc

import pytest
import torch

from lasagna.errors import ConfigError
from lasagna.modules import TinyVisionEncoder
from lasagna.modules.vision_encoders.feature_cache import FeatureCache


class Counting(TinyVisionEncoder):
    """Counts the images that it encodes."""

    encoded = 0

    def forward(self, pixels):
        self.encoded += len(pixels)
        return super().forward(pixels)


def made(frozen=True, weights="pretrained"):
    encoder = Counting(frozen=frozen, weights=weights)
    encoder.build()
    return encoder.eval()


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))


def test_each_image_is_encoded_once_and_comes_back_the_same(tmp_path, pixels):
    encoder, plain = made(), made()
    cache = FeatureCache(str(tmp_path))
    expected = plain(pixels)
    for images in (pixels[:2], pixels, pixels.flip(0)):
        for found, wanted in zip(cache(encoder, images), plain(images), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert encoder.encoded == 3
    # a new process finds what an old one left, to the bit
    again = made()
    first, second = FeatureCache(str(tmp_path))(again, pixels), cache(encoder, pixels)
    assert again.encoded == 0
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert [maps.shape for maps in first] == [maps.shape for maps in expected]


@pytest.mark.slow
def test_an_encoder_in_the_place_of_one_that_is_gone_has_files_of_its_own(tmp_path, pixels):
    cache = FeatureCache(str(tmp_path))
    for seed in range(8):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder = made(weights="random")
        torch.testing.assert_close(cache(encoder, pixels), encoder(pixels), atol=1e-5, rtol=0)
        del encoder
        gc.collect()


def test_other_weights_and_other_precisions_have_files_of_their_own(tmp_path, pixels):
    cache = FeatureCache(str(tmp_path))
    cache(made(), pixels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = made(weights="random")
    cache(other, pixels)
    assert other.encoded == 3
    half = made()
    with torch.autocast("cpu", torch.bfloat16):
        cache(half, pixels)
    assert half.encoded == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_a_broken_file_is_computed_and_written_again(tmp_path, pixels):
    encoder = made()
    cache = FeatureCache(str(tmp_path))
    wanted = cache(encoder, pixels[:1])
    [file] = tmp_path.rglob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert torch.equal(cache(encoder, pixels[:1])[0], wanted[0])
    assert encoder.encoded == 2
    assert file.read_bytes() == whole


def test_a_full_cache_says_so_once_and_continues(tmp_path, pixels):
    encoder = made()
    cache = FeatureCache(str(tmp_path), limit_gb=1e-9)
    with pytest.warns(UserWarning, match=r"is full; raise limit_gb") as caught:
        cache(encoder, pixels)
    assert len(caught) == 1
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_encoder_that_is_trained_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"vision_encoder\.frozen: true"):
        FeatureCache(str(tmp_path)).check(made(frozen=False))
    with pytest.raises(ConfigError, match="limit_gb: expected more than 0"):
        FeatureCache(str(tmp_path), limit_gb=0)
