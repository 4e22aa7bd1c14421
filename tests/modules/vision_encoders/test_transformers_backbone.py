"""Backbones of transformers give the numbers of transformers' own models, above all DINOv3's, at small random sizes."""

import json
import re
from functools import reduce

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import FeatureSpec, TimmEncoder, TransformersEncoder
from tests.helpers.parts import built
from tests.modules.test_vision_encoders import VisionEncoderContract

VIT = {
    "model_type": "dinov3_vit",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_register_tokens": 2,
}
CONVNEXT = {"model_type": "dinov3_convnext", "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
SIZE = (64, 96)


class TestDinov3(VisionEncoderContract):
    pytestmark = pytest.mark.slow

    def make(self, frozen):
        return TransformersEncoder(VIT, SIZE, frozen=frozen, resize="pad")

    def test_gradients_flow_unless_frozen(self):
        encoder = self.build(frozen=False).train()
        encoder(self.inputs(encoder))[0].square().mean().backward()
        untrained = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
        assert untrained == ["network.embeddings.mask_token"]
        assert not encoder.network.embeddings.mask_token.requires_grad


class TestDinov3ConvNext(TestDinov3):
    def make(self, frozen):
        return TransformersEncoder(CONVNEXT, SIZE, frozen=frozen)

    def test_gradients_flow_unless_frozen(self):
        encoder = self.build(frozen=False).train()
        sum(features.square().mean() for features in encoder(self.inputs(encoder))).backward()
        trained = {name: parameter.requires_grad for name, parameter in encoder.named_parameters()}
        assert all((parameter.grad is not None) == trained[name] for name, parameter in encoder.named_parameters())
        assert {name.split(".")[3] for name, learns in trained.items() if not learns} == {"3"}  # the stage at stride 32


def model_of(settings, folder):
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(**settings)).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("settings", "spec"),
    [(VIT, FeatureSpec((32,), (16,), SIZE)), (CONVNEXT, FeatureSpec((24, 16, 8), (16, 8, 4), SIZE))],
    ids=["dinov3_vit", "dinov3_convnext"],
)
def test_maps_are_those_of_the_whole_model(settings, spec, tmp_path):
    model = model_of(settings, tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3]}), encoding="utf-8"
    )
    encoder = TransformersEncoder(str(tmp_path), SIZE)
    encoder.build()
    assert encoder.spec == spec
    assert encoder.frozen
    assert (encoder.image_processor.mean, encoder.image_processor.std) == ((0.1, 0.2, 0.3), (1, 2, 3))
    pixels = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(pixels, output_hidden_states=True)
    if settings is VIT:
        wanted = [expected.last_hidden_state[:, 3:].transpose(1, 2).unflatten(2, (4, 6))]
    else:
        wanted = [expected.hidden_states[place] for place in (3, 2, 1)]
    torch.testing.assert_close(encoder(pixels), wanted)


def test_layers_are_maps_of_one_stride_the_deepest_first():
    several, deepest, shallow = (built(TransformersEncoder(VIT, SIZE, layers=one)) for one in ((0, 2), (2,), (0,)))
    pixels = torch.linspace(0, 1, 3 * 64 * 96).view(1, 3, *SIZE)
    assert several.spec == FeatureSpec((32, 32), (16, 16), SIZE)
    torch.testing.assert_close(several(pixels), [*deepest(pixels), *shallow(pixels)])


@pytest.mark.slow
def test_blocks_computed_twice_give_the_same_gradients():
    found = []
    for recompute in (False, True):
        torch.manual_seed(0)
        encoder = TransformersEncoder(VIT, SIZE, recompute=recompute)
        encoder.build()
        torch.manual_seed(0)  # positions are scaled at random in training
        encoder.train()(torch.linspace(0, 1, 3 * 64 * 96).view(1, 3, *SIZE))[0].square().sum().backward()
        found.append([parameter.grad for parameter in encoder.parameters() if parameter.grad is not None])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": {"model_type": "llama"}}, "'llama' is no backbone of transformers"),
        (
            {"model": VIT, "image_size": (90, 64)},
            r"image_size: \(90, 64\) must be multiples of the strides of 'dinov3_vit'",
        ),
        ({"model": VIT, "out_indices": (2, 3)}, r"have the strides \(16, 16\); choose one map per stride"),
        ({"model": VIT, "layers": (1, 3)}, r"layers: \(1, 3\) must be from 0 to 2, those of 'dinov3_vit'"),
        ({"model": VIT, "layers": (1,), "out_indices": (2,)}, "both name maps; leave one of them out"),
        ({"model": VIT, "out_indices": (9,)}, r"out_indices: \(9,\) must be from 0 to 3"),
        ({"model": "no such folder"}, "neither a local folder nor in the hub's local cache.*download: true"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TransformersEncoder(**{"image_size": SIZE} | arguments).build()


def test_folders_with_other_weights_are_refused(tmp_path):
    model_of(VIT, tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    cut = {name: value for name, value in state.items() if "norm1" not in name}
    save_file(cut, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 6 tensors of a DINOv3ViTBackbone.*complete checkpoint"):
        TransformersEncoder(str(tmp_path), SIZE).build()
    save_file({name: value.flatten()[:1] for name, value in state.items()}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="cannot be read"):
        TransformersEncoder(str(tmp_path), SIZE).build()
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        TransformersEncoder(str(tmp_path), SIZE).build()


TIMM = (
    (r"embeddings\.register_tokens", "reg_token"),
    (r"embeddings\.patch_embeddings", "patch_embed.proj"),
    (r"embeddings\.", ""),
    (r"model\.layer\.", "blocks."),
    (r"attention\.o_proj", "attn.proj"),
    (r"attention\.([qv])_proj\.bias", r"attn.\1_bias"),
    (r"layer_scale(\d)\.lambda1", r"gamma_\1"),
    (r"up_proj", "fc1"),
    (r"down_proj", "fc2"),
)
"""Names of tensors of transformers' DINOv3, and those of timm's."""


@pytest.mark.slow
def test_timm_gives_the_same_map_of_the_same_weights(tmp_path):
    """Whoever has DINOv3's weights can take either implementation."""
    sizes = {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 12, "num_attention_heads": 3}
    model = model_of(VIT | sizes | {"num_register_tokens": 4}, tmp_path)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    state = dict(model.state_dict())
    state.pop("embeddings.mask_token")
    for block in range(12):
        root = f"model.layer.{block}.attention."
        joined = torch.cat([state.pop(f"{root}{kind}_proj.weight") for kind in "qkv"])
        state[f"blocks.{block}.attn.qkv.weight"] = joined
    renamed = {reduce(lambda name, rule: re.sub(*rule, name), TIMM, name): value for name, value in state.items()}
    torch.save(renamed, tmp_path / "timm.pt")
    encoder = TimmEncoder("vit_tiny_patch16_dinov3_qkvb", weights_file=str(tmp_path / "timm.pt"), image_size=SIZE)
    encoder.build()
    pixels = torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        # timm's maps come before the last norm
        last = model(pixels, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(encoder(pixels)[0].flatten(2).transpose(1, 2), last[:, 5:], atol=1e-3, rtol=1e-4)
