"""SAM 3's parts give the numbers of transformers' own model, from the folders of both kinds, at small random sizes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam3ImageProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from lasagna.core.config import build as rebuild
from lasagna.core.config import config_of
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import FeatureSpec
from lasagna.modules.sam3.mask_head import Sam3MaskHead
from lasagna.modules.sam3.sizes import Sam3HeadSize, Sam3Size
from lasagna.modules.sam3.vision_encoder import Sam3VisionEncoder
from tests.helpers.parts import built, maps_of
from tests.helpers.sam3_model import HEAD, SIDE, SMALL, image_model, video_folder
from tests.modules.test_mask_heads import MaskHeadContract
from tests.modules.test_vision_encoders import VisionEncoderContract

SPEC = FeatureSpec((16, 16, 16), (14, 7, 3.5), (SIDE, SIDE))
INDEX = torch.tensor([1, 0, 1])
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def model():
    return image_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam3")
    model.save_pretrained(folder)
    return folder


class United(Sam3MaskHead):
    """The union of the masks, which keeps the contract of heads with one mask a prompt."""

    def forward(self, features, prompts, image_index):
        return super().forward(features, prompts, image_index).union


@pytest.mark.slow
class TestSam3MaskHead(MaskHeadContract):
    specs = (SPEC, FeatureSpec((16, 16, 16), (16, 8, 4), (64, 96)))

    def make(self):
        return United(size=replace(HEAD, dropout=0.0))


@pytest.mark.slow
class TestSam3VisionEncoder(VisionEncoderContract):
    def make(self, frozen):
        return Sam3VisionEncoder(SMALL, image_size=SIDE, frozen=frozen)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", [pytest.param("image model", marks=pytest.mark.slow), "video model"])
def test_masks_scores_and_maps_are_those_of_the_whole_model(kind, model, folder, tmp_path, monkeypatch):
    if kind == "video model":
        video_folder(model, tmp_path)
        folder = tmp_path
    encoder, head = Sam3VisionEncoder(checkpoint=str(folder)), Sam3MaskHead(str(folder), prompt_tokens=3, chunk=2)
    assert encoder.spec == SPEC
    built(encoder)
    built(head, encoder.spec)
    pixels, prompts = random(2, 3, SIDE, SIDE), random(3, 48)
    with torch.no_grad():
        words = BaseModelOutputWithPooling(pooler_output=prompts.unflatten(1, (3, 16)))
        monkeypatch.setattr(model, "get_text_features", lambda **_: words)
        expected = model(pixel_values=pixels[INDEX], input_ids=torch.zeros(3, 3, dtype=torch.long))
        maps = encoder(pixels)
        found = head(maps, prompts, INDEX)
        pyramid = model.vision_encoder(pixels).fpn_hidden_states[2::-1]
    torch.testing.assert_close(maps, list(pyramid), **CLOSE)
    torch.testing.assert_close(found.logits, expected.pred_masks, **CLOSE)
    scores = expected.pred_logits.sigmoid() * expected.presence_logits.sigmoid()
    assert scores.std() > 0.01
    torch.testing.assert_close(found.scores, scores, **CLOSE)


def test_the_detector_learns_and_recomputing_changes_nothing():
    found = []
    for recompute in (False, True):
        head = built(Sam3MaskHead(size=replace(HEAD, dropout=0.0), recompute=recompute, chunk=2), SPEC).train()
        prompts = random(3, 16).requires_grad_()
        prediction = head(maps_of(SPEC, 2), prompts, INDEX)
        (prediction.union.square().mean() + prediction.scores.sum()).backward()
        trained = {name: value for name, value in head.named_parameters() if value.requires_grad}
        assert not any("box_head" in name for name in trained)
        assert all(value.grad is not None for value in trained.values())
        found.append((prediction.logits, prompts.grad, *(value.grad for value in trained.values())))
    torch.testing.assert_close(found[0], found[1], **CLOSE)


def test_no_prompts_give_no_masks_but_gradients_of_zeros():
    head = built(Sam3MaskHead(size=HEAD), SPEC).train()
    prompts = torch.zeros(0, 16, requires_grad=True)
    found = head(maps_of(SPEC, 1), prompts, torch.zeros(0, dtype=torch.long))
    assert (found.logits.shape, found.scores.shape, head.masks) == ((0, 5, 16, 16), (0, 5), 5)
    ((found.logits.sum() + found.scores.sum()) * 0).backward()
    given = [value.grad for value in head.parameters() if value.requires_grad]
    assert all(gradient is not None and not gradient.any() for gradient in given)


def test_images_are_prepared_as_transformers_does():
    image = np.random.default_rng(0).integers(0, 256, (37, 91, 3), dtype=np.uint8)
    size = {"height": SIDE, "width": SIDE}
    expected = Sam3ImageProcessor(size=size)(images=image.copy(), return_tensors="pt")["pixel_values"][0]
    found = Sam3VisionEncoder(SMALL, image_size=SIDE).image_processor.pixels(image)
    assert (found - expected).abs().max() < 2.1 / 255 / 0.5  # two libraries round bytes


def test_a_folder_that_does_not_fit_is_refused(folder, model, tmp_path):
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({name: value for name, value in state.items() if "layers.1." not in name}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"vision_encoder\.backbone\.layers\.1.* is missing.*leave `size` out"):
        Sam3VisionEncoder(checkpoint=str(tmp_path)).build()
    with pytest.raises(CheckpointError, match=r"detr_encoder\.layers\.1.* is missing.*complete SAM 3"):
        Sam3MaskHead(str(tmp_path)).build(SPEC)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam2"}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is a 'sam2', not a SAM 3 \(sam3, sam3_video\)"):
        Sam3MaskHead(str(tmp_path)).build(SPEC)
    with pytest.raises(ConfigError, match=r"neither a local folder nor in the hub's local cache.*download: true"):
        Sam3VisionEncoder(checkpoint="no/such").build()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Sam3VisionEncoder(SMALL, image_size=60).spec,
            "image_size: 60 must be a multiple of 14; the nearest is 56",
        ),
        (lambda: Sam3Size(width=24, heads=4), "width: 24 must be a multiple of 4 times the heads, 16"),
        (lambda: Sam3Size(global_blocks=(32,)), r"global_blocks: \(32,\) must be from 0 to 31"),
        (lambda: Sam3HeadSize(prompt_dim=20, heads=2), "prompt_dim: 20 must be a multiple of 8"),
        (lambda: Sam3MaskHead(chunk=0), "chunk: expected a whole number of at least 1, got 0"),
        (
            lambda: Sam3MaskHead(size=HEAD).build(FeatureSpec((16, 16), (8, 4), (64, 64))),
            r"gives \(16, 16\) at strides \(8, 4\); take a Sam3VisionEncoder",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_checkpoints_can_say_how_to_make_them():
    encoder = rebuild(config_of(Sam3VisionEncoder(SMALL, image_size=SIDE, recompute=True)), Sam3VisionEncoder)
    assert (encoder.size, encoder.spec, encoder.recompute) == (SMALL, SPEC, True)
    assert Sam3MaskHead(size=HEAD, prompt_tokens=2).prompt_dim == 32


@pytest.mark.slow
def test_the_published_sizes_are_the_defaults():
    encoder = Sam3VisionEncoder()
    assert encoder.spec == FeatureSpec((256, 256, 256), (14, 7, 3.5), (1008, 1008))
    with torch.device("meta"):
        encoder.build()
        head = Sam3MaskHead()
        head.build(encoder.spec)
    counts = [sum(value.numel() for value in part.parameters()) / 1e6 for part in (encoder, head)]
    assert counts == pytest.approx([453, 24], abs=1)
