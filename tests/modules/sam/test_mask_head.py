"""SAM's parts at small random sizes: shapes, chunks, gradients, files of weights."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lasagna.core.config import build as rebuild
from lasagna.core.config import config_of
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import FeatureSpec
from lasagna.modules.image_processors import DEVIATION, MEAN, SamImageProcessor
from lasagna.modules.sam.image_encoder import window_partition, window_unpartition
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import SamHeadSize, SamSize
from lasagna.modules.sam.vision_encoder import SamVisionEncoder
from tests.helpers.parts import built
from tests.modules.test_vision_encoders import VisionEncoderContract

SMALL = SamSize(
    embed_dim=24, depth=3, heads=2, global_blocks=(1,), mlp_dim=40, window=3, image_size=64, patch=8, out_channels=32
)
HEAD = SamHeadSize(prompt_dim=32, depth=2, heads=4, mlp_dim=48, masks=4, mask_channels=8, iou_dim=24, iou_depth=2)
SPEC = FeatureSpec((32,), (8,), (64, 64))


def encoder_of(**settings):
    return built(SamVisionEncoder(**{"size": SMALL, "frozen": False} | settings))


def head_of(**settings):
    return built(SamMaskHead(**{"size": HEAD} | settings), SPEC, seed=1)


def case(count=5, images=2):
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(images, 32, 8, 8, generator=generator)
    index = torch.tensor([1, 0, 1, 1, 0])[:count]
    return [maps], torch.randn(count, 32, generator=generator), index


@pytest.fixture
def checkpoint(tmp_path):
    """A file in SAM's own layout, and its tensors."""
    state = {
        name: torch.randn_like(value) for name, value in {**encoder_of().state_dict(), **head_of().state_dict()}.items()
    }
    path = tmp_path / "sam.pth"
    torch.save(state, path)
    return path, state


class TestSamVisionEncoder(VisionEncoderContract):
    def make(self, frozen):
        return SamVisionEncoder(SMALL, frozen=frozen)


@pytest.mark.parametrize("size", [(64, 64), (375, 500), (1025, 2048), (7, 2048), (1, 3000), (640, 480)])
def test_sides_are_rounded_as_sam_does(size):
    geometry = SamImageProcessor(1024).geometry(size)
    exact = [side * 1024 / max(size) for side in size]
    assert max(geometry.resized) == 1024
    assert geometry.padded == (1024, 1024)
    assert all(abs(found - side) <= 0.5 or found == 1 for found, side in zip(geometry.resized, exact, strict=True))
    if size == (1025, 2048):
        assert geometry.resized == (513, 1024)


def test_a_tall_image_is_padded_at_the_right_with_the_mean_colour():
    pixels = SamImageProcessor(64).pixels(np.full((32, 16, 3), (255, 0, 51), np.uint8))
    colour = (torch.tensor([255.0, 0.0, 51.0]) - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    assert torch.equal(pixels[:, :, :32], colour[:, None, None].expand(3, 64, 32))
    assert not pixels[:, :, 32:].any()


@pytest.mark.parametrize("size", [(6, 6), (7, 5), (1, 8)])
def test_windows_come_together_again(size):
    cells = torch.arange(2 * size[0] * size[1] * 3.0).reshape(2, *size, 3)
    windows = window_partition(cells, 3)
    assert windows.shape[1:] == (3, 3, 3)
    assert torch.equal(windows[0, 0, 0], cells[0, 0, 0])
    assert torch.equal(window_unpartition(windows, size), cells)


def test_recomputing_blocks_and_chunks_gives_the_same_gradients():
    pixels = torch.randn(1, 3, 64, 64)
    plain, frugal = encoder_of(), encoder_of(recompute=True)
    for encoder in (plain, frugal):
        encoder(pixels)[0].square().mean().backward()
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    features, prompts, index = case()
    gradients = []
    for head in (head_of(), head_of(recompute=True, chunk=2)):
        given = prompts.clone().requires_grad_()
        head(features, given, index).square().mean().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(*gradients)


def test_masks_cover_the_input_and_each_prompt_sees_its_own_image():
    features, prompts, index = case()
    head = head_of()
    masks = head(features, prompts, index)
    assert masks.shape == (5, 32, 32)
    for place, image in enumerate(index.tolist()):
        alone = head([features[0][image : image + 1]], prompts[place : place + 1], torch.tensor([0]))
        torch.testing.assert_close(masks[place : place + 1], alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(head(features, prompts, 1 - index), masks, atol=1e-3)


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_chunks_change_nothing(chunk):
    torch.testing.assert_close(head_of(chunk=chunk)(*case()), head_of()(*case()), atol=1e-5, rtol=1e-5)


def test_no_prompts_give_no_masks():
    assert head_of()(*case(count=0)).shape == (0, 32, 32)


def test_gradients_reach_prompts_features_and_all_that_can_be_trained():
    (features,), prompts, index = case()
    head = head_of().train()
    head([features.requires_grad_()], prompts.requires_grad_(), index).square().mean().backward()
    assert (prompts.grad.abs().sum(1) > 0).all()
    assert features.grad.abs().sum() > 0
    trained = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
    assert all((dict(head.named_parameters())[name].grad is not None) for name in trained)
    assert not any("iou_prediction_head" in name or name.startswith("prompt_encoder") for name in trained)
    assert any("output_hypernetworks_mlps.0" in name for name in trained)
    assert not any(f"output_hypernetworks_mlps.{mask}" in name for name in trained for mask in (1, 2, 3))


@pytest.mark.parametrize("prefix", ["", "model.visual_model."])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_sizes_and_weights_come_from_a_file(tmp_path, checkpoint, suffix, prefix):
    state = {prefix + name: value for name, value in checkpoint[1].items()} | {"other.weight": torch.zeros(1)}
    path = str(tmp_path / f"any.{suffix}")
    (save_file if suffix == "safetensors" else torch.save)(state, path)
    encoder, head = SamVisionEncoder(weights_file=path), SamMaskHead(path, HEAD)
    assert encoder.sizes == SMALL
    encoder.build()
    head.build(encoder.spec)
    found = {**encoder.state_dict(), **head.state_dict()}
    assert found.keys() == checkpoint[1].keys()
    assert all(torch.equal(found[name], value) for name, value in checkpoint[1].items())
    masks = head(encoder(torch.randn(1, 3, 64, 64)), torch.randn(2, 32), torch.tensor([0, 0]))
    assert masks.shape == (2, 32, 32)


def test_what_is_loaded_is_not_tied_to_the_file(checkpoint):
    path, _ = checkpoint
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    encoder = encoder_of(size=None, weights_file=str(path))
    with torch.no_grad():
        encoder.image_encoder.pos_embed.zero_()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_head_reads_its_sizes_off_a_file(checkpoint):
    found = SamMaskHead(str(checkpoint[0])).sizes
    assert found == SamHeadSize(32, 2, 8, 48, 4, 8, 24, 2)  # 8 heads, since no shape tells them


@pytest.mark.parametrize(
    ("missing", "part"),
    [
        ("image_encoder.blocks.1.attn.proj.bias", "encoder"),
        ("image_encoder.pos_embed", "encoder"),
        ("mask_decoder.transformer.norm_final_attn.weight", "head"),
        ("mask_decoder.mask_tokens.weight", "head"),
        ("prompt_encoder.no_mask_embed.weight", "head"),
    ],
)
def test_missing_tensors_are_named(checkpoint, missing, part):
    path, state = checkpoint
    torch.save({name: value for name, value in state.items() if name != missing}, path)
    with pytest.raises(CheckpointError, match=missing.replace(".", r"\.")):
        encoder_of(size=None, weights_file=str(path)) if part == "encoder" else head_of(
            size=None, weights_file=str(path)
        )


def test_a_file_of_other_sizes_or_of_another_model_is_refused(tmp_path, checkpoint):
    path = str(checkpoint[0])
    with pytest.raises(CheckpointError, match=r"blocks\.3\.norm1\.weight is missing.*leave `size` out"):
        encoder_of(size="vit_b", weights_file=path)
    with pytest.raises(CheckpointError, match="there is no file"):
        encoder_of(size=None, weights_file=str(tmp_path / "none.pth"))
    torch.save({"conv.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="give a SAM checkpoint"):
        head_of(size=None, weights_file=path)
    checkpoint[0].write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match="neither safetensors nor a plain state dict"):
        head_of(size=None, weights_file=path)


def test_what_constructors_refuse():
    with pytest.raises(ValueError, match="vit_b, vit_l, vit_h"):
        SamVisionEncoder("vit_x")
    with pytest.raises(ValueError, match="chunk: expected at least 1"):
        SamMaskHead(chunk=0)
    with pytest.raises(ValueError, match="global_blocks"):
        SamSize(depth=2)
    with pytest.raises(ValueError, match="twice the heads"):
        SamHeadSize(prompt_dim=24)
    with pytest.raises(ConfigError, match=r"the vision encoder gives 96; set mask_head\.size\.prompt_dim: 96"):
        SamMaskHead().build(FeatureSpec((96,), (8,), (96, 96)))
    with pytest.raises(ConfigError, match="gives 100; take a vision encoder with 256 channels, or a DotMaskHead"):
        SamMaskHead().build(FeatureSpec((100,), (8,), (96, 96)))
    with pytest.raises(ConfigError, match=r"gives 24; set mask_head\.size\.prompt_dim: 24 and \.heads: 4"):
        SamMaskHead().build(FeatureSpec((24,), (8,), (96, 96)))


@pytest.mark.parametrize(("preset", "million"), [("vit_b", 89.7), ("vit_l", 308.3), ("vit_h", 637.0)])
def test_presets_have_the_published_numbers_of_parameters(preset, million):
    encoder = SamVisionEncoder(preset)
    with torch.device("meta"):
        encoder.build()
    assert sum(parameter.numel() for parameter in encoder.parameters()) / 1e6 == pytest.approx(million, abs=0.06)
    assert encoder.spec == FeatureSpec((256,), (16,), (1024, 1024))


def test_a_checkpoint_can_say_how_to_make_them():
    encoder = rebuild(config_of(SamVisionEncoder(SMALL, recompute=True)), SamVisionEncoder)
    assert (encoder.sizes, encoder.frozen, encoder.recompute) == (SMALL, True, True)
    assert rebuild(config_of(SamVisionEncoder("vit_l")), SamVisionEncoder).sizes.depth == 24
    assert rebuild(config_of(SamMaskHead(size=HEAD, chunk=3)), SamMaskHead).sizes == HEAD
