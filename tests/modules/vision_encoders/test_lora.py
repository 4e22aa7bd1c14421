"""Low-rank adapters on vision encoders: what learns, what stays, and how they are stored."""

from __future__ import annotations

import pytest
import torch

from lasagna import load
from lasagna.core.config import config_of
from lasagna.core.seeding import seeded
from lasagna.errors import ConfigError
from lasagna.modules import Assistant, DotMaskHead, LoRA, TinyLanguageModel, TransformersEncoder, VisionLoRA
from lasagna.modules.checkpoints.folder import write_assistant
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, FROZEN, PREFIX, SEED, fingerprint
from lasagna.modules.sam.sizes import SamSize
from lasagna.modules.sam.vision_encoder import SamVisionEncoder
from lasagna.modules.sam2.vision_encoder import Sam2VisionEncoder
from lasagna.modules.sam3.vision_encoder import Sam3VisionEncoder
from lasagna.modules.vision_encoders.timm import TimmEncoder
from tests.helpers.parts import built
from tests.helpers.sam2_model import SMALL as SAM2
from tests.helpers.sam3_model import SIDE
from tests.helpers.sam3_model import SMALL as SAM3
from tests.modules.vision_encoders.test_transformers_backbone import VIT

SAM = SamSize(24, 2, 2, (1,), 40, window=3, image_size=64, patch=16, out_channels=32)
ENCODERS = {
    "sam": lambda adapter: SamVisionEncoder(SAM, adapter=adapter),
    "sam, computed twice": lambda adapter: SamVisionEncoder(SAM, adapter=adapter, recompute=True),
    "sam2": lambda adapter: Sam2VisionEncoder(SAM2, image_size=(64, 64), adapter=adapter),
    "timm": lambda adapter, **more: TimmEncoder("test_vit", image_size=(64, 64), adapter=adapter, **more),
    "dinov3": lambda adapter: TransformersEncoder(VIT, (64, 64), layers=(0, 1), adapter=adapter),
    "sam3": lambda adapter: Sam3VisionEncoder(SAM3, image_size=SIDE, adapter=adapter),
    "timm, computed twice": lambda adapter: ENCODERS["timm"](adapter, recompute=True),
}
ADAPTER = VisionLoRA(rank=2, alpha=4, dropout=0.5)


class PassedOver(torch.nn.Module):
    """Reads the weights of a layer instead of calling it, as BEiT and EVA do in timm."""

    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(4, 4)

    def forward(self, pixels):
        return torch.nn.functional.linear(pixels, self.qkv.weight)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if "twice" in kind else ()) for kind in ENCODERS]
)
def test_adapters_begin_as_nothing_and_are_all_that_learns(kind):
    encoder = built(ENCODERS[kind](ADAPTER))
    pixels = torch.randn(1, 3, *encoder.spec.image_size, generator=torch.Generator().manual_seed(0))
    plain = built(ENCODERS[kind](None))
    torch.testing.assert_close(encoder(pixels), plain(pixels))
    encoder.train()
    assert any(isinstance(part, torch.nn.Dropout) and part.training for part in encoder.modules())
    sum(maps.square().mean() for maps in encoder(pixels)).backward()
    learned = {name for name, value in encoder.named_parameters() if value.requires_grad}
    assert learned and all(".lora_" in name for name in learned)
    assert all(value.grad is not None for name, value in encoder.named_parameters() if name in learned)
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            if ".lora_B" in name:
                value += 1
    assert not torch.allclose(encoder.eval()(pixels)[0], plain(pixels)[0], atol=1e-3)


def test_layers_that_are_missing_or_passed_over_are_named():
    with pytest.raises(ConfigError, match=r"no linear layer is called \['q_proj'\]; the model has \['fc1', 'fc2'"):
        TimmEncoder("test_vit", image_size=(64, 64), adapter=VisionLoRA(targets=("q_proj",))).build()
    network = PassedOver()
    ADAPTER.inject(network)
    with pytest.raises(ConfigError, match=r"'eva' does not call its layers \['qkv'\], so that adapters on them would"):
        ADAPTER.check_called(network, torch.ones(1, 4), "eva")


def test_an_exported_assistant_keeps_the_adapters_of_encoder_and_language_model(tmp_path):
    words = TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2), adapter=LoRA(rank=2))
    encoder = TimmEncoder("test_vit", image_size=(32, 32), adapter=ADAPTER)
    assistant = Assistant(encoder, words, DotMaskHead(16), "tiny")
    with seeded(0, "fresh weights"):
        assistant.configure_model()
    trained = {name: value for name, value in assistant.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for value in trained.values():
            value += 0.1 * torch.randn_like(value)
    stored = {PREFIX + name: value.detach().clone() for name, value in trained.items()}
    facts = {ASSISTANT_CONFIG: config_of(assistant), SEED: 0, FROZEN: fingerprint(assistant, trained)}
    write_assistant(tmp_path / "folder", assistant, {"state_dict": stored, **facts})
    assert "language_model" in (tmp_path / "folder" / "assistant.json").read_text(encoding="utf-8")
    again = load(tmp_path / "folder")
    assert isinstance(again.vision_encoder.adapter, VisionLoRA)
    own, kept = assistant.state_dict(), again.state_dict()
    assert all(torch.equal(kept[name], own[name]) for name in trained)
    assert any("vision_encoder" in name for name in trained) and any(".llama." in name for name in trained)
