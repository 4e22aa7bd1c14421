"""The language model's own tower as the vision encoder: one run an image, equal numbers, masks on the right pixels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from lasagna.core.batch import Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import fit_mask, restore_logits
from lasagna.core.masks import RLEMask
from lasagna.core.prompt_formats import TINY
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import SegmentationLoss, TinyLanguageModel, TinyMaskHead
from lasagna.modules.base import VisionEncoder
from lasagna.modules.image_text.families import FAMILIES
from lasagna.modules.mask_heads.dot import DotMaskHead
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.vision_encoders.feature_cache import FeatureCache
from lasagna.modules.vision_encoders.shared_tower import SharedTower
from tests.helpers import parts
from tests.helpers.image_text_models import CONFIGS, FEATURES, fill_unset, made, needs
from tests.modules.test_vision_encoders import VisionEncoderContract

SIDE = 70
"""Of the input, where a family takes any: windows of Qwen2.5-VL do not divide it."""


def language_model(kind, **settings):
    if kind == "llava_v1":
        pytest.importorskip("sentencepiece")
        from lasagna.modules.llava.language_model import LlavaV1

        return LlavaV1(**settings)
    return made(kind, **{"image_size": SIDE} | settings)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a tiny LLaVA v1."""
    pytest.importorskip("sentencepiece")
    from tests.helpers.tiny_llava import write_llava

    return str(write_llava(tmp_path_factory.mktemp("shared")))


def joined(model):
    """Build a language model, and return it with the encoder that shares its tower."""
    fill_unset(parts.built(model, FEATURES, TINY.special_tokens))
    encoder = SharedTower()
    encoder.join(model)
    return model, encoder.eval()


class TestLlavaTower(VisionEncoderContract):
    kind = "llava"

    def model(self):
        return language_model(self.kind)

    def make(self, frozen):
        return joined(self.model())[1]

    def test_gradients_flow_unless_frozen(self):
        encoder = self.build().train()
        assert not encoder.training
        assert not encoder(self.inputs(encoder))[0].requires_grad

    def test_the_map_leads_to_the_vectors_of_the_model_itself(self):
        model, encoder = joined(self.model())
        pixels = torch.cat([self.inputs(encoder, seed) for seed in (1, 2)])
        with torch.no_grad():
            own = model.embed_image([pixels])
            assert torch.equal(model.embed_map(encoder(pixels)[0]), own)
        assert (own[0] - own[1]).abs().max() > 1e-3

    def test_a_patch_of_the_picture_is_that_cell_of_the_map(self):
        """Fresh layers hardly mix, so that a patch that changes shows most at its own place."""
        _, encoder = joined(self.model())
        side, (rows, columns) = encoder.stride, encoder.spec.grid
        pixels = torch.randn(1, 3, *self.inputs(encoder).shape[2:])
        with torch.no_grad():
            before = encoder(pixels)[0]
            for place in range(rows * columns):
                row, column = divmod(place, columns)
                changed = pixels.clone()
                changed[..., row * side : (row + 1) * side, column * side : (column + 1) * side] *= -1
                difference = (encoder(changed)[0] - before).square().sum(1)[0]
                assert difference.argmax().item() == place

    def test_masks_lie_where_the_picture_shows_them(self):
        image_processor = self.make(True).image_processor
        for size in ((200, 200), (150, 260), (260, 150)):
            mask = np.zeros(size, bool)
            mask[70:120, 60:130] = True
            picture = np.where(mask[..., None], 255, 0).astype(np.uint8).repeat(3, 2)
            geometry = image_processor.geometry(size)
            height, width = geometry.padded
            seen = image_processor.pixels(picture)[:, :height, :width].mean(0, keepdim=True)
            middle = (seen.max() + image_processor.pixels(picture * 0).min()) / 2
            shown = np.zeros(size, bool)
            shown[geometry.shown] = True
            for found in (
                restore_logits(seen - middle, geometry)[0] > 0,
                restore_logits((fit_mask(mask, geometry) == 1).float()[None] - 0.5, geometry)[0] > 0,
            ):
                found, truth = found.numpy(), mask & shown
                assert (found & truth).sum() / (found | truth).sum() > 0.8
                # half a pixel of the input at the most
                scale = np.array(geometry.shown_size) / geometry.resized
                assert (abs(np.argwhere(found).mean(0) - np.argwhere(truth).mean(0)) <= scale / 2).all()


class TestLlavaNextTower(TestLlavaTower):
    kind = "llava_next"


class TestLlavaOneVisionTower(TestLlavaTower):
    """Its input of 30 pixels has four patches of 7 and two pixels that none of them reaches."""

    kind = "llava_onevision"

    def test_pixels_are_where_geometry_says(self):
        image_processor = self.make(True).image_processor
        geometry = image_processor.geometry((330, 660))
        assert image_processor.pixels(np.zeros((330, 660, 3), np.uint8)).shape == (3, 30, 30)
        assert (geometry.resized, geometry.padded, geometry.seen) == ((28, 28), (28, 28), (0, 0, 308, 616))


class TestPaliGemmaTower(TestLlavaTower):
    kind = "paligemma"


class TestInternVLTower(TestLlavaTower):
    kind = "internvl"


class TestSmolVLMTower(TestLlavaTower):
    kind = "smolvlm"


class TestIdefics3Tower(TestLlavaTower):
    kind = "idefics3"


class TestQwen2VLTower(TestLlavaTower):
    kind = "qwen2_vl"


class TestQwen25VLTower(TestLlavaTower):
    kind = "qwen2_5_vl"


class TestQwen3VLTower(TestLlavaTower):
    kind = "qwen3_vl"


@pytest.mark.slow
class TestGemma3Tower(TestLlavaTower):
    kind = "gemma3"


@pytest.mark.slow
@needs("qwen3_5")
class TestQwen35Tower(TestLlavaTower):
    kind = "qwen3_5"


@pytest.mark.slow
class TestQwen3VLMoETower(TestLlavaTower):
    kind = "qwen3_vl_moe"


@pytest.mark.slow
@needs("qwen3_5_moe")
class TestQwen35MoETower(TestLlavaTower):
    kind = "qwen3_5_moe"


@pytest.mark.slow
@needs("lfm2_vl")
class TestLfm2VLTower(TestLlavaTower):
    kind = "lfm2_vl"


@pytest.mark.slow
@needs("molmo2")
class TestMolmo2Tower(TestLlavaTower):
    kind = "molmo2"


class TestLlavaV1Tower(TestLlavaTower):
    centre_crop = False

    @pytest.fixture(autouse=True)
    def checkpoint(self, folder):
        self.folder = folder

    def model(self):
        return language_model("llava_v1", folder=self.folder, centre_crop=self.centre_crop)


class TestLlavaV1CroppedTower(TestLlavaV1Tower):
    centre_crop = True

    def test_pixels_are_where_geometry_says(self):
        geometry = self.make(True).image_processor.geometry((20, 50))
        assert geometry.seen == (0, 15, 20, 20)
        assert (fit_mask(np.ones((20, 50), bool), geometry) == 1).all()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.kind, marks=needs(case.kind))
        for case in (TestGemma3Tower, TestQwen35Tower, TestLfm2VLTower, TestMolmo2Tower)
    ],
)
def test_the_most_of_a_tower(case):
    """All of its contract is among the slow tests."""
    case().test_the_map_leads_to_the_vectors_of_the_model_itself()


def test_every_family_shares_its_tower():
    kinds = {case.kind for case in _below(TestLlavaTower)} | {"llava"}
    assert kinds == FAMILIES.keys() == CONFIGS.keys()


def _below(case):
    return {deeper for child in case.__subclasses__() for deeper in (child, *_below(child))}


class Separate(VisionEncoder):
    """A second encoder with a tower's weights, as one would do without sharing."""

    def __init__(self, model):
        super().__init__()
        self.tower = copy.deepcopy(joined(model)[1].tower)

    spec = property(lambda self: self.tower.spec)
    image_processor = property(lambda self: self.tower.image_processor)

    def build(self):
        self.requires_grad_(False)

    def forward(self, pixels):
        return [self.tower(pixels)]


def assistant_of(encoder, model, head=None):
    assistant = parts.joined(encoder, model, head or DotMaskHead(16))
    generator = torch.Generator().manual_seed(1)
    # a fresh head would answer nearly the same whatever it sees
    for value in (*assistant.prompt_projection.parameters(), *assistant.mask_head.parameters()):
        torch.nn.init.normal_(value, std=0.3, generator=generator)
    return assistant


def batch_of(assistant):
    pictures = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    mask = RLEMask.from_array(np.arange(2400).reshape(40, 60) % 60 < 30)
    dialogues = [Dialogue("categories", ("sun", "dog"), (Entry("sun", True, mask), Entry("dog", False)))]
    dialogues.append(Dialogue("referring", ("the ball",), (Entry("the ball", True, mask),)))
    samples = [
        prepare_sample(picture, dialogues, assistant.processors, source="s", key=str(place), keep_image=True)
        for place, picture in enumerate(pictures)
    ]
    return collate(samples, assistant.processors)


QUERIES = [
    Query(0, "categories", ("sun", "dog", "sky")),
    Query(0, "referring", ("the ball",)),
    Query(0, "question", ("a",)),
]


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
def test_the_tower_runs_once_for_all_dialogues_and_answers(kind):
    assistant = assistant_of(SharedTower(), language_model(kind))
    runs = []
    assistant.vision_encoder.tower.network.register_forward_hook(lambda *_: runs.append(1))
    batch = batch_of(assistant)
    assert batch.tower_pixels is None
    assistant.train()
    assistant(batch)
    assert len(runs) == 1
    assert len(assistant.eval().answers(batch.images[0], QUERIES)) == 3
    assert len(runs) == 2


@pytest.mark.parametrize("kind", ["llava", "smolvlm", "paligemma", "qwen2_5_vl", "qwen3_vl"])
def test_all_is_as_with_a_second_encoder_of_the_same_weights(kind):
    shared = assistant_of(SharedTower(), language_model(kind))
    separate = assistant_of(Separate(language_model(kind)), language_model(kind))
    for head in ("prompt_projection", "mask_head"):
        getattr(separate, head).load_state_dict(getattr(shared, head).state_dict())
    batches = batch_of(shared), batch_of(separate)
    assert torch.equal(batches[0].pixels, batches[1].tower_pixels)
    losses = [
        SegmentationLoss()(assistant(batch), batch)
        for assistant, batch in zip((shared, separate), batches, strict=True)
    ]
    for name, value in losses[0].items():
        torch.testing.assert_close(value, losses[1][name], atol=1e-6, rtol=1e-6)
    for loss in losses:
        loss["loss"].backward()
    gradients = [
        {name: value.grad for name, value in assistant.named_parameters() if value.grad is not None}
        for assistant in (shared, separate)
    ]
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], atol=1e-5, rtol=1e-4)
    pairs = zip(*(assistant.answers(batches[0].images[1], QUERIES) for assistant in (shared, separate)), strict=True)
    for one, other in pairs:
        assert one.text == other.text
        for entry, its_like in zip(one.entries, other.entries, strict=True):
            assert entry.score == pytest.approx(its_like.score, abs=1e-6)
            assert np.array_equal(entry.mask, its_like.mask)


def test_features_on_disk_give_the_same_answers_without_the_tower(tmp_path):
    assistant = assistant_of(SharedTower(), language_model("llava"))
    batch = batch_of(assistant)
    runs = []
    assistant.vision_encoder.tower.network.register_forward_hook(lambda *_: runs.append(1))
    plain = assistant(batch)
    cache = FeatureCache(str(tmp_path))
    cache.check(assistant.vision_encoder)
    assistant.feature_cache = cache
    for _ in range(2):
        cached = assistant(batch)
        torch.testing.assert_close(cached.token_logits, plain.token_logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(cached.mask_logits, plain.mask_logits, atol=1e-4, rtol=1e-4)
    assert len(runs) == 2
    # another layer of the same weights is another map
    other = language_model("llava")
    other.model = {**other.model, "vision_feature_layer": -1}
    deeper = assistant_of(SharedTower(), other)
    before = len(list(tmp_path.iterdir()))
    cache(deeper.vision_encoder, batch.pixels)
    assert len(list(tmp_path.iterdir())) == before + 1


def test_a_tower_in_half_precision_serves_a_head_in_full_precision():
    assistant = assistant_of(SharedTower(), language_model("llava", dtype="bfloat16"))
    batch = batch_of(assistant)
    output = assistant(batch)
    assert output.mask_logits.dtype == torch.float32
    SegmentationLoss()(output, batch)["loss"].backward()


def test_several_layers_are_one_map():
    model = language_model("llava")
    model.model = {**model.model, "vision_feature_layer": [-2, -1]}
    model, encoder = joined(model)
    pixels = torch.randn(2, 3, 28, 28)
    assert encoder.spec.channels == (48,)
    with torch.no_grad():
        assert torch.equal(model.embed_map(encoder(pixels)[0]), model.embed_image([pixels]))


def test_heads_take_the_map_as_they_take_any():
    sam = SamMaskHead(size=SamHeadSize(prompt_dim=24, heads=2, mlp_dim=32, mask_channels=8, iou_dim=16))
    for head in (TinyMaskHead(weights="random"), sam):
        assistant = assistant_of(SharedTower(), language_model("llava"), head)
        assert assistant(batch_of(assistant)).mask_logits.shape[1:] == (16, 16)


def test_what_does_not_fit_says_so():
    with pytest.raises(ConfigError, match=r"TinyLanguageModel has none; take an ImageTextModel or LlavaV1"):
        assistant_of(SharedTower(), TinyLanguageModel(weights="random", projector="random"))
    with pytest.raises(CheckpointError, match=r"the packaged 'mask_head' does not fit TinyMaskHead.*weights: random"):
        assistant_of(SharedTower(), language_model("llava"), TinyMaskHead())
    with pytest.raises(ConfigError, match=r"the vision encoder gives 24; set mask_head.size.prompt_dim: 24"):
        assistant_of(SharedTower(), language_model("llava"), SamMaskHead())
    model = language_model("llava")
    model.model = {**model.model, "vision_feature_select_strategy": "full"}
    with pytest.raises(ConfigError, match="'full' with a 'clip_vision_model' leaves no square of patches, since its"):
        joined(model)
    with pytest.raises(RuntimeError, match="call join"):
        _ = SharedTower().spec
