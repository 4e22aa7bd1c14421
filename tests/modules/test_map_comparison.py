"""Images that are shown together are compared in their maps; those that are shown alone stay as they are."""

import pytest
import torch

from lasagna.core.config import config_of
from lasagna.errors import ConfigError
from lasagna.modules import Assistant, FeatureSpec, MapComparison, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from tests.modules.test_assistant import picture

SPEC = FeatureSpec((8, 4), (8, 4), (32, 32))
SHOWN = torch.tensor([[0, 0, 0], [3, 1, 4], [5, 2, 0]])
"""Rows are filled up by the first image."""


def random_comparison():
    comparison = MapComparison()
    comparison.build(SPEC)
    for value in comparison.parameters():
        torch.nn.init.normal_(value)
    return comparison


def maps(count=6):
    return [torch.randn(count, channels, 32 // step, 32 // step) for channels, step in ((8, 8), (4, 4))]


def test_differences_are_those_from_the_mean_of_the_other_images():
    comparison, seen = random_comparison(), maps()
    for single, compared, network in zip(seen, comparison(seen, SHOWN), comparison.networks, strict=True):
        assert torch.equal(compared[0], single[0]) and torch.equal(compared[3:], single[3:])
        for place, others in ((1, [3, 4]), (2, [5])):
            own = single[place]
            expected = own + network(torch.cat([own, own - single[others].mean(0)])[None])[0]
            torch.testing.assert_close(compared[place], expected, atol=1e-4, rtol=1e-4)
    assert comparison([single.bfloat16() for single in seen], SHOWN)[0].dtype == torch.bfloat16


def test_maps_begin_as_they_are_and_differences_can_be_learned():
    comparison, seen = MapComparison(), maps()
    comparison.build(SPEC)
    compared = comparison(seen, SHOWN)
    assert all(torch.equal(one, other) for one, other in zip(compared, seen, strict=True))
    sum(one.square().sum() for one in compared).backward()
    assert all(network[-1].weight.grad.any() for network in comparison.networks)


def test_images_that_the_encoder_has_not_seen_are_refused():
    with pytest.raises(ConfigError, match="comparison: the language model reads further images by a visual tower"):
        random_comparison()(maps(3), SHOWN)


def test_an_assistant_compares_before_language_model_and_mask_head_read():
    parts = TinyVisionEncoder((32, 32)), TinyLanguageModel(), TinyMaskHead()
    assistant = Assistant(*parts, "tiny", comparison=MapComparison())
    assert config_of(assistant)["init_args"]["comparison"] == config_of(MapComparison())
    assistant.configure_model()
    before, after = picture(seed=1), picture(seed=2)
    alone, pair = (assistant.encode_image(images)[0] for images in (after, [before, after]))
    torch.testing.assert_close(pair.features[0], alone.features[0], atol=1e-5, rtol=1e-5)
    torch.nn.init.normal_(assistant.comparison.networks[0][-1].weight)
    changed, same = (assistant.encode_image(images)[0] for images in ([before, after], after))
    assert torch.equal(same.features[0], alone.features[0])
    for one, other in ((changed.features[0], pair.features[0]), (changed.image_vectors, pair.image_vectors)):
        assert not torch.allclose(one, other, atol=1e-2)
    assert torch.equal(changed.image_vectors[:, :36], pair.image_vectors[:, :36])
