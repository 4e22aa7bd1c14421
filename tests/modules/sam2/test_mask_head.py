"""SAM 2's parts give the numbers of transformers' own model, from any of its checkpoints, at small random sizes."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model, Sam2VideoConfig, Sam2VideoModel

from lasagna.core.config import build as rebuild
from lasagna.core.config import config_of
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import FeatureSpec
from lasagna.modules.sam.cell_attention import double, draw, once_doubled, twice_doubled
from lasagna.modules.sam.layers import LayerNorm2d
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam2.mask_head import Sam2MaskHead
from lasagna.modules.sam2.sizes import PRESETS, Sam2Size
from lasagna.modules.sam2.vision_encoder import Sam2VisionEncoder
from lasagna.modules.sam2.weights import read_sam2
from lasagna.modules.vision_encoders.feature_cache import FeatureCache
from tests.helpers.sam2_model import SIDE, SMALL, image_model, original_name, original_state, video_model, vision_config

HEAD = SamHeadSize(prompt_dim=32, heads=4, mlp_dim=48, mask_channels=8)
SPEC = FeatureSpec((32, 8, 4), (16, 8, 4), (SIDE, SIDE))
INDEX = torch.tensor([1, 0, 1, 1, 0])
CLOSE = {"atol": 1e-4, "rtol": 1e-5}


@pytest.fixture(scope="module")
def model():
    return image_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sam2")
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(model, tmp_path):
    """A file as facebookresearch/sam2 publishes them, and its tensors."""
    state = original_state(model)
    torch.save({"model": state}, tmp_path / "sam2.pt")
    return tmp_path / "sam2.pt", state


def encoder_of(**settings):
    encoder = Sam2VisionEncoder(**{"image_size": (SIDE, SIDE)} | settings)
    encoder.build()
    return encoder.eval()


def head_of(spec=SPEC, **settings):
    head = Sam2MaskHead(**settings)
    head.build(spec)
    return head.eval()


def pictures(count=2):
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def prompts(count=5):
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(2))


def reference_masks(model, pixels, vectors, index, monkeypatch):
    """Run transformers' whole model on images, with vectors in the place of what it makes of points and boxes."""
    masks = torch.empty(len(index), SIDE // 4, SIDE // 4)
    for image in range(len(pixels)):
        own = vectors[index == image]
        dense = model.prompt_encoder.no_mask_embed.weight[0, :, None, None].expand(1, -1, SIDE // 16, SIDE // 16)
        monkeypatch.setattr(
            model.prompt_encoder, "forward", lambda own=own, dense=dense, **_: (own[None, :, None], dense)
        )
        with torch.no_grad():
            masks[index == image] = model(pixels[image : image + 1], multimask_output=False).pred_masks[0, :, 0]
    return masks


@pytest.mark.parametrize("source", ["folder", "video", "original", "inside another model", "safetensors"])
def test_maps_and_masks_are_those_of_the_whole_model(model, folder, tmp_path, source, monkeypatch):
    settings = {"checkpoint": str(write(model, folder, tmp_path, source))}
    sizes = {} if source in ("folder", "video") else {"size": SMALL}
    encoder = encoder_of(**settings, **sizes)
    head = head_of(encoder.spec, chunk=2, **settings, **({"size": HEAD} if sizes else {}))
    with torch.no_grad():
        maps = encoder(pictures())
        masks = head(maps, prompts(), INDEX)
    for found, wanted in zip(maps, model.get_image_embeddings(pictures())[::-1], strict=True):
        torch.testing.assert_close(found, wanted, **CLOSE)
    expected = reference_masks(model, pictures(), prompts(), INDEX, monkeypatch)
    assert expected.std() > 0.1
    torch.testing.assert_close(masks, expected, **CLOSE)


def write(model, folder, tmp_path, source):
    """Write a model's tensors in one of the ways in which they are found."""
    if source == "folder":
        return folder
    if source == "video":
        whole = video_model()
        whole.load_state_dict(model.state_dict(), strict=False)
        whole.save_pretrained(tmp_path)
        return tmp_path
    state = original_state(model)
    if source == "inside another model":
        state = {f"model.grounding.{name}": value for name, value in state.items()} | {"lm_head.weight": torch.ones(2)}
    file = tmp_path / ("sam2.safetensors" if source == "safetensors" else "sam2.pt")
    (save_file if source == "safetensors" else torch.save)({name: value.clone() for name, value in state.items()}, file)
    return file


def test_every_tensor_is_accounted_for(model, folder, checkpoint):
    encoder, head = encoder_of(checkpoint=str(folder)), head_of(checkpoint=str(folder))
    wanted = set(encoder.image_encoder.state_dict()) | set(head.state_dict())
    for source, stored in ((folder, load_file(folder / "model.safetensors")), checkpoint):
        found = read_sam2(str(source))
        assert set(found.tensors) == wanted
        split = 0 if source == checkpoint[0] else 3  # one table there, four here
        assert len(found.tensors) - split + len(found.unused) == len(stored)
        counts = Counter(found.unused.values())
        assert counts["second and later masks"] == 3 * 6
        assert counts["scores of masks"] == 2 * 6
        assert counts["memory of a video"] == (9 if source == checkpoint[0] else 0)


@pytest.mark.parametrize(
    "missing", ["no_memory_embedding", "vision_encoder.neck.convs.2.bias", "mask_decoder.conv_s0.bias"]
)
def test_what_the_encoder_misses_is_named(model, checkpoint, missing):
    path, state = checkpoint
    del state[original_name(missing)]
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match=rf"{missing.removeprefix('mask_decoder.')} is missing"):
        encoder_of(size=SMALL, checkpoint=str(path))


@pytest.mark.parametrize(
    "missing", ["sam_mask_decoder.obj_score_token.weight", "sam_prompt_encoder.no_mask_embed.weight"]
)
def test_what_the_head_misses_is_named(checkpoint, missing):
    path, state = checkpoint
    del state[missing]
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError, match=f"{missing.removeprefix('sam_')} is missing"):
        head_of(size=HEAD, checkpoint=str(path))


def test_surplus_tensors_are_refused(checkpoint):
    path, state = checkpoint
    torch.save(state | {"image_encoder.trunk.blocks.5.norm1.weight": torch.zeros(1)}, path)
    with pytest.raises(
        CheckpointError, match=r"tensors that the network lacks: vision_encoder\.backbone\.blocks\.5.*leave `size` out"
    ):
        encoder_of(size=SMALL, checkpoint=str(path))
    torch.save(state | {"image_encoder.blocks.0.norm1.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"SAM 2 does not have: image_encoder\.blocks\.0"):
        read_sam2(str(path))


def test_sizes_that_are_not_those_of_the_weights_are_refused(folder):
    with pytest.raises(CheckpointError, match=r"tensors that the network lacks: vision_encoder.*leave `size` out"):
        encoder_of(size="hiera_tiny", checkpoint=str(folder))
    with pytest.raises(CheckpointError, match=r"mask_decoder\..*leave `size` out"):
        head_of(size=SamHeadSize(32, 1, 4, 48), checkpoint=str(folder))
    with pytest.raises(CheckpointError, match=r"width 16 with 5 blocks is not one of hiera_tiny.*give its sizes"):
        torch.save(original_state(image_model()), folder / "sam2.pt")
        encoder_of(checkpoint=str(folder / "sam2.pt"))


@pytest.mark.parametrize("make", [encoder_of, head_of])
def test_weights_that_are_not_sam_2_are_refused(make, tmp_path):
    with pytest.raises(ConfigError, match=r"neither a local folder nor in the hub's local cache.*download: true"):
        make(checkpoint=str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"checkpoint: .* is incomplete"):
        make(checkpoint=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is a 'vit', not a SAM 2 \(sam2, sam2_video\)"):
        make(checkpoint=str(tmp_path))
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no sam_mask_decoder"):
        make(checkpoint=str(tmp_path / "other.pt"))


def test_a_name_is_looked_up_on_the_hub_only_if_that_is_asked_for(folder, monkeypatch):
    asked = []

    def snapshot(name, allow_patterns, local_files_only):
        asked.append((name, local_files_only))
        return str(folder)

    monkeypatch.setattr("lasagna.modules.language_models.pretrained.snapshot_download", snapshot)
    head_of(checkpoint="facebook/sam2.1-hiera-tiny", download=True)
    assert set(asked) == {("facebook/sam2.1-hiera-tiny", False)}


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (FeatureSpec((32,), (16,), (64, 64)), r"gives \(32,\) at strides \(16,\)"),
        (FeatureSpec((32, 32, 32), (16, 8, 4), (64, 64)), r"gives \(32, 32, 32\)"),
        (FeatureSpec((24, 6, 3), (16, 8, 4), (64, 64)), r"gives \(24, 6, 3\)"),
        (FeatureSpec((32, 8, 4), (32, 16, 4), (64, 64)), r"at strides \(32, 16, 4\)"),
    ],
)
def test_a_head_refuses_maps_that_do_not_fit(spec, given):
    with pytest.raises(ConfigError, match=rf"needs maps of \(32, 8, 4\) channels.*{given}.*; take a Sam2VisionEncoder"):
        head_of(spec, size=HEAD)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sam2VisionEncoder("hiera_huge"), "hiera_tiny, hiera_small, hiera_base_plus, hiera_large"),
        (
            lambda: encoder_of(image_size=(100, 96)).spec,
            "image_size: \\(100, 96\\) must be multiples of 32; the nearest is \\(96, 96\\)",
        ),
        (lambda: Sam2MaskHead(chunk=0), "chunk: expected at least 1"),
        (lambda: Sam2Size(heads=5), "heads: 5 does not divide"),
        (lambda: Sam2Size(windows=(8, 3, 14, 7)), "windows: the first three"),
        (lambda: Sam2Size(global_blocks=(3,)), "none that begins a later stage"),
        (lambda: Sam2Size(global_blocks=(12,)), "must be from 0 to 11"),
        (lambda: Sam2Size(out_channels=12), "multiple of 8"),
    ],
)
def test_what_constructors_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", [(37, 91), (240, 320), (1024, 1024), (1400, 900)])
def test_images_are_prepared_as_transformers_does(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = Sam2ImageProcessor()(images=image.copy(), return_tensors="pt")["pixel_values"][0]
    found = Sam2VisionEncoder().image_processor.pixels(image)
    distance = (found - expected).abs()
    assert found.shape == expected.shape == (3, 1024, 1024)
    # where an image is made smaller, two libraries round bytes; two steps of 255, of a deviation of 0.22
    assert distance.max() < (2.1 / 255 / 0.22 if max(size) > 1024 else 1e-6)
    assert distance.mean() < 0.005


@pytest.mark.parametrize(("name", "million"), [("tiny", 38.9), ("small", 46.0), ("base_plus", 80.8), ("large", 224.4)])
def test_presets_have_the_published_numbers_of_parameters(name, million):
    with torch.device("meta"):
        model = Sam2VideoModel(Sam2VideoConfig(vision_config=PRESETS[f"hiera_{name}"].config().to_dict()))
    assert sum(value.numel() for value in model.parameters()) / 1e6 == pytest.approx(million, abs=0.1)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name", ["hiera_tiny", *(pytest.param(f"hiera_{size}", marks=SLOW) for size in ("small", "base_plus", "large"))]
)
def test_published_encoders_read_original_names_as_timm_does(name, tmp_path):
    """Two implementations of Hiera agree on sizes, names and numbers of an original checkpoint."""
    with torch.device("meta"):
        blank = Sam2Model(Sam2Config(vision_config=PRESETS[name].config())).state_dict()
    generator = torch.Generator().manual_seed(0)
    state = {
        original_name(key): ("norm" in key) + 0.05 * torch.randn(value.shape, generator=generator)
        for key, value in blank.items()
        if not key.startswith("prompt_encoder.")
    }
    torch.save({"model": state}, tmp_path / "sam2.pt")
    encoder = encoder_of(checkpoint=str(tmp_path / "sam2.pt"))
    root = "image_encoder.trunk."
    trunk = {key.removeprefix(root): value for key, value in state.items() if key.startswith(root)}
    # timm's model has a norm behind the last stage, which SAM 2 has not
    width = encoder.config.backbone_config.embed_dim_per_stage[-1]
    torch.save(trunk | {f"head.norm.{part}": torch.ones(width) for part in ("weight", "bias")}, tmp_path / "trunk.pt")
    overlay = {"file": str(tmp_path / "trunk.pt"), "url": "", "hf_hub_id": None}
    other = timm.create_model(
        f"sam2_{name}", pretrained=True, pretrained_cfg_overlay=overlay, features_only=True
    ).eval()
    with torch.no_grad():
        found = encoder.image_encoder.vision_encoder.backbone(pictures(1)).intermediate_hidden_states
        expected = other(pictures(1))
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own.permute(0, 3, 1, 2), wanted, atol=1e-3, rtol=1e-3)


def test_chunks_and_recomputing_change_nothing(folder):
    maps = encoder_of(checkpoint=str(folder))(pictures())
    found = []
    for settings in ({}, {"chunk": 1}, {"recompute": True}):
        head = head_of(checkpoint=str(folder), **settings).train()
        vectors = prompts().requires_grad_()
        masks = head(maps, vectors, INDEX)
        masks.square().mean().backward()
        found.append((masks, vectors.grad, *(value.grad for value in head.mask_decoder.parameters())))
        assert not any(value.requires_grad for value in head.prompt_encoder.parameters())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], **CLOSE)


def test_an_encoder_that_recomputes_learns_the_same(folder):
    found, runs = [], []
    for recompute in (False, True):
        encoder = encoder_of(checkpoint=str(folder), frozen=False, recompute=recompute).train()
        runs.append(0)

        def count(*unread):
            runs[-1] += 1

        encoder.image_encoder.vision_encoder.backbone.blocks[2].attn.register_forward_hook(count)
        maps = encoder(pictures())
        sum(image.square().mean() for image in maps).backward()
        found.append([*maps, *(value.grad for value in encoder.parameters())])
    assert runs == [1, 2]
    torch.testing.assert_close(found[0], found[1], **CLOSE)


def test_features_are_kept_on_disk(folder, tmp_path):
    encoder = encoder_of(checkpoint=str(folder))
    cache = FeatureCache(str(tmp_path))
    expected = encoder(pictures())
    for found in (cache(encoder, pictures()), cache(encoder_of(checkpoint=str(folder)), pictures())):
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, **CLOSE)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_checkpoints_can_say_how_to_make_them():
    encoder = rebuild(config_of(Sam2VisionEncoder(SMALL, image_size=(64, 64), recompute=True)), Sam2VisionEncoder)
    assert (encoder.size, encoder.spec, encoder.recompute) == (SMALL, SPEC, True)
    assert rebuild(config_of(Sam2VisionEncoder("hiera_large")), Sam2VisionEncoder).config.fpn_hidden_size == 256
    assert rebuild(config_of(Sam2MaskHead(size=HEAD, chunk=3)), Sam2MaskHead).sizes == HEAD


def test_cells_are_doubled_in_their_places():
    torch.manual_seed(0)
    maps = torch.randn(1, 6, 3, 5)
    first, second = torch.nn.ConvTranspose2d(6, 4, 2, stride=2), torch.nn.ConvTranspose2d(4, 2, 2, stride=2)
    norm = LayerNorm2d(4)
    once = double(maps.flatten(2).transpose(1, 2), first)
    torch.testing.assert_close(once, once_doubled(first(maps)))
    torch.testing.assert_close(double(norm.last(once), second), twice_doubled(second(norm(first(maps)))))
    fine = torch.randn(1, 1, 12, 20)
    cells = torch.zeros(1, 15, 6)
    assert torch.equal(draw(lambda _: twice_doubled(fine), cells, torch.ones(1, 1), 3, 5), fine[0])


def test_the_settings_of_a_folder_say_how_large_the_input_is(folder):
    assert Sam2VisionEncoder(checkpoint=str(folder)).spec == SPEC
    assert Sam2VisionEncoder().spec == FeatureSpec((256, 64, 32), (16, 8, 4), (1024, 1024))
    assert vision_config().backbone_config.image_size == [SIDE, SIDE]
