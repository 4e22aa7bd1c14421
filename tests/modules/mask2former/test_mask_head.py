"""Mask2Former's decoders give the numbers of transformers' own model, at small random sizes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import FeatureSpec
from lasagna.modules.mask2former.mask_head import Mask2FormerHead
from lasagna.modules.mask2former.pyramid import Pyramid
from lasagna.modules.mask2former.sizes import Mask2FormerSize
from tests.helpers.parts import built, maps_of
from tests.modules.test_mask_heads import MaskHeadContract

SIZE = Mask2FormerSize(width=32, pixel_layers=1, layers=3, heads=2, pixel_mlp_dim=16, mlp_dim=24, masks=4)
SWIN = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 2}
SPEC = FeatureSpec((64, 32, 16, 8), (32, 16, 8, 4), (64, 96))
INDEX = torch.tensor([1, 0, 1])


@pytest.fixture(scope="module")
def model():
    settings = SIZE.config().to_dict()
    stages = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
    config = Mask2FormerConfig(**settings | {"backbone_config": SWIN | stages, "num_labels": 3})
    torch.manual_seed(0)
    model = Mask2FormerForUniversalSegmentation(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = ("norm" in name or ".1.weight" in name) and name.endswith("weight")
            value.copy_(norm + 0.2 * torch.randn(value.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mask2former")
    model.save_pretrained(folder)
    return folder


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


class United(Mask2FormerHead):
    """The union of the masks, which keeps the contract of heads with one mask a prompt."""

    def forward(self, features, prompts, image_index):
        return super().forward(features, prompts, image_index).union


@pytest.mark.slow
class TestMask2FormerHead(MaskHeadContract):
    def make(self):
        return United(size=SIZE)


def test_masks_are_those_of_the_whole_model_with_the_prompt_added_to_its_queries(model, folder):
    head = built(Mask2FormerHead(str(folder), chunk=2), SPEC)
    assert head.prompt_dim == 32
    pixels, prompts = random(2, 3, 64, 96), random(3, 32)
    queries = model.model.transformer_module.queries_features.weight
    kept = queries.detach().clone()
    with torch.no_grad():
        maps = model.model.pixel_level_module.encoder(pixels).feature_maps[::-1]
        found = head(maps, prompts, INDEX)
        for place, image in enumerate(INDEX.tolist()):
            queries.copy_(kept + prompts[place])
            expected = model(pixels[image : image + 1])
            torch.testing.assert_close(found.logits[place], expected.masks_queries_logits[0], atol=1e-4, rtol=1e-4)
            state = expected.transformer_decoder_last_hidden_state
            score = head.score(head.decoders.transformer_module.decoder.layernorm(state))[0, :, 0].sigmoid()
            torch.testing.assert_close(found.scores[place], score, atol=1e-4, rtol=1e-4)
        queries.copy_(kept)
    assert found.logits.shape == (3, head.masks, 16, 24) == (3, 4, 16, 24)
    assert found.scores.std() > 1e-3


def test_an_encoder_with_other_maps_gets_the_weights_that_do_not_depend_on_them(folder):
    head = built(Mask2FormerHead(str(folder)), FeatureSpec((40,), (14,), (70, 98)))
    stored = load_file(folder / "model.safetensors")
    own = head.decoders.state_dict()
    root = "model.pixel_level_module.decoder."
    assert torch.equal(own["pixel_decoder.level_embed"], stored[f"{root}level_embed"])
    assert own["pixel_decoder.input_projections.1.0.weight"].shape[1] == 40
    assert not torch.equal(own["pixel_decoder.input_projections.0.1.bias"], stored[f"{root}input_projections.0.1.bias"])
    found = head(maps_of(FeatureSpec((40,), (14,), (70, 98)), 1), random(1, 32), torch.tensor([0]))
    assert found.logits.shape == (1, 4, 20, 28)


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        (SPEC, [(64, 2), (32, 4), (16, 8), (8, 16)]),
        (FeatureSpec((24, 16, 8), (16, 8, 4), (64, 64)), [(6, 2), (24, 4), (16, 8), (8, 16)]),
        (FeatureSpec((24, 8), (14, 3.5), (56, 56)), [(6, 2), (24, 4), (6, 8), (8, 16)]),
    ],
)
def test_a_pyramid_uses_the_maps_that_there_are(spec, sizes):
    pyramid = Pyramid(spec, 6)
    levels = pyramid(maps_of(spec, 1))
    assert [(level.shape[1], level.shape[2]) for level in levels] == sizes
    assert pyramid.channels == [channels for channels, _ in sizes]


def test_the_decoders_learn_and_recomputing_changes_nothing():
    found, spec = [], FeatureSpec((24,), (16,), (64, 64))
    for recompute in (False, True):
        head = built(Mask2FormerHead(size=SIZE, recompute=recompute, chunk=2), spec).train()
        prompts = random(3, 32).requires_grad_()
        prediction = head(maps_of(spec, 2), prompts, INDEX)
        (prediction.union.square().mean() + prediction.scores.sum()).backward()
        assert all(value.grad is not None for value in head.parameters())
        found.append((prediction.logits, prompts.grad, *(value.grad for value in head.parameters())))
    torch.testing.assert_close(found[0], found[1])


def test_what_is_refused(folder, model, tmp_path):
    with pytest.raises(ConfigError, match="width: 48 must be a multiple of 32"):
        Mask2FormerSize(width=48)
    with pytest.raises(ConfigError, match="chunk: expected a whole number of at least 1, got 0"):
        Mask2FormerHead(chunk=0)
    with pytest.raises(CheckpointError, match=r"pixel_decoder\.encoder\.layers\.1.* is missing.*leave `size` out"):
        Mask2FormerHead(str(folder), replace(SIZE, pixel_layers=2)).build(SPEC)
    model.config.save_pretrained(tmp_path)
    state = load_file(folder / "model.safetensors")
    cut = {name: value for name, value in state.items() if "queries_features" not in name}
    save_file(cut, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"queries_features\.weight is missing.*complete Mask2Former"):
        Mask2FormerHead(str(tmp_path)).build(SPEC)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam3"}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is a 'sam3', not a Mask2Former \(mask2former\)"):
        Mask2FormerHead(str(tmp_path)).build(SPEC)


def test_the_published_sizes_are_the_defaults():
    assert Mask2FormerSize().config().to_dict() == Mask2FormerConfig().to_dict()
