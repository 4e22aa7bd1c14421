"""A part that gives something else than it states is refused at its first use, by name, and with the way out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from lasagna.cli.train import main
from lasagna.core.prompt_formats import PAPER, TINY
from lasagna.errors import ConfigError
from lasagna.modules import (
    Assistant,
    CausalLanguageModel,
    FeatureSpec,
    MaskPrediction,
    SmolLM2,
    TinyLanguageModel,
    TinyMaskHead,
    VisionEncoder,
)
from lasagna.modules.contract import check_presence, check_wording
from lasagna.modules.image_processors import SquashImageProcessor
from tests.helpers.assistants import random_assistant
from tests.helpers.tiny_run import write_config, write_scenes
from tests.modules.test_assistant import batch_of, complex_dialogue

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)


class StatedEncoder(VisionEncoder):
    """64 channels at stride 8 and 32 at stride 4 of images of 32 pixels, whatever it states."""

    def __init__(self, channels=(64, 32), strides=(8, 4), image_size=(32, 32)) -> None:
        super().__init__()
        self.stated = FeatureSpec(tuple(channels), tuple(strides), tuple(image_size))

    @property
    def spec(self):
        return self.stated

    @property
    def image_processor(self):
        return SquashImageProcessor((32, 32), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

    def build(self):
        self.fine, self.main = nn.Conv2d(3, 32, 4, 4), nn.Conv2d(32, 64, 2, 2)

    def forward(self, pixels):
        fine = self.fine(pixels)
        return [self.main(fine), fine]


class SingleMap(StatedEncoder):
    def forward(self, pixels):
        return super().forward(pixels)[0]


class TinyModel(TinyLanguageModel):
    def __init__(self) -> None:
        super().__init__(weights="random", projector="random", image_grid=(2, 2), max_length=256)


class FewerVectors(TinyModel):
    def embed_image(self, visual):
        return super().embed_image(visual)[:, :3]


class MoreVectors(TinyModel):
    def embed_image(self, visual):
        return super().embed_image(visual).repeat(1, 2, 1)


class NarrowVectors(TinyModel):
    def embed_image(self, visual):
        return super().embed_image(visual)[..., :100]


class WideVectors(TinyModel):
    def embed_image(self, visual):
        return super().embed_image(visual).repeat(1, 1, 2)


class PooledVectors(TinyModel):
    def embed_image(self, visual):
        return super().embed_image(visual).mean(1)


class OtherHiddenSize(TinyModel):
    @property
    def hidden_size(self):
        return 96


class OtherStates(TinyModel):
    def forward(self, *arguments, **named):
        return super().forward(*arguments, **named)[..., :64]


class OtherPrompts(TinyMaskHead):
    def __init__(self, prompt_dim: int = 48) -> None:
        super().__init__(weights="random")
        self.stated = prompt_dim

    @property
    def prompt_dim(self):
        return self.stated


class AllAtOnce(TinyMaskHead):
    def __init__(self) -> None:
        super().__init__(weights="random")

    def forward(self, features, prompts, image_index):
        return super().forward(features, prompts, image_index).sum(0)


class OtherScores(TinyMaskHead):
    def __init__(self) -> None:
        super().__init__(weights="random")

    def forward(self, features, prompts, image_index):
        masks = super().forward(features, prompts, image_index)
        return MaskPrediction(masks[:, None], masks.new_ones(len(masks), 2))


def assistant_of(encoder=None, model=None, head=None):
    head = head or TinyMaskHead(weights="random")
    assistant = Assistant(encoder or StatedEncoder(), model or TinyModel(), head, "tiny")
    assistant.configure_model()
    return assistant


CASES = [
    ({"encoder": StatedEncoder((48, 32))}, r"StatedEncoder states maps of 48 x 4 x 4, .* returns 64 x 4 x 4, .*`spec`"),
    ({"encoder": StatedEncoder(strides=(16, 4))}, r"StatedEncoder states maps of 64 x 2 x 2, .* returns 64 x 4 x 4"),
    ({"encoder": StatedEncoder(image_size=(64, 48))}, r"states maps of 64 x 8 x 6, .* for images of 64 x 48 pixels"),
    ({"encoder": StatedEncoder((64,), (8,))}, r"states maps of 64 x 4 x 4, .* returns 64 x 4 x 4, 32 x 8 x 8"),
    ({"encoder": SingleMap()}, r"SingleMap.* returns one tensor; return a list"),
    ({"model": FewerVectors()}, r"FewerVectors puts 4 image tokens into a prompt, .* returns 3 vectors"),
    ({"model": MoreVectors()}, r"MoreVectors puts 4 image tokens into a prompt, .* returns 8 vectors"),
    ({"model": NarrowVectors()}, r"NarrowVectors.* hidden_size 128.* returns vectors 100 wide"),
    ({"model": WideVectors()}, r"WideVectors.* vectors 256 wide, but its embed uses 128 of them"),
    ({"model": PooledVectors()}, r"PooledVectors.* returns 1 x 128; .* \[b, i, d\]"),
    ({"model": OtherHiddenSize()}, r"OtherHiddenSize states hidden_size 96, but its embed returns vectors 128 wide"),
    ({"model": OtherStates()}, r"OtherStates states hidden_size 128, but its forward returns states 64 wide"),
    ({"head": OtherScores()}, r"OtherScores.* x 1 x .* logits and .* x 2 scores for .* return logits \[n, k, h, w\]"),
    ({"head": OtherPrompts()}, r"OtherPrompts states prompt_dim 48, .* does not accept .*`prompt_dim`"),
    ({"head": AllAtOnce()}, r"AllAtOnce.* returns 16 x 16 for \d+ prompts"),
]


@pytest.mark.parametrize(("parts", "message"), CASES, ids=range(len(CASES)))
def test_a_part_that_gives_something_else_than_it_states(parts, message):
    assistant = assistant_of(**parts)
    with pytest.raises(ConfigError, match=message):
        assistant(batch_of(assistant, [complex_dialogue()]))
    with pytest.raises(ConfigError, match=message):
        assistant.answer(IMAGE, ["the dog"], "referring", decoding="teacher_forced")


def test_parts_that_fit_are_checked_once(monkeypatch):
    assistant = assistant_of()
    assistant(batch_of(assistant, [complex_dialogue()]))
    monkeypatch.setattr(type(assistant.language_model.text_processor), "prompt_ids", lambda *_: 1 / 0)
    assistant.encode(torch.zeros(2, 3, 32, 32))


def test_the_check_draws_no_random_numbers_and_leaves_no_gradient():
    assistant = random_assistant()
    state = torch.get_rng_state()
    encoded = assistant.encode(torch.zeros(1, 3, 32, 32))
    assert torch.equal(torch.get_rng_state(), state)
    assert encoded.image_vectors.requires_grad
    assert all(parameter.grad is None for parameter in assistant.parameters())


def test_maps_and_strides_are_counted():
    with pytest.raises(ConfigError, match=r"spec: 2 channels and 1 strides; each map needs one of each"):
        FeatureSpec((64, 32), (8,), (32, 32))


def test_other_errors_of_a_head_are_its_own(monkeypatch):
    assistant = assistant_of()

    def broken(*_):
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(assistant.mask_head, "forward", broken)
    with pytest.raises(RuntimeError, match=r"^no space left"):
        assistant(batch_of(assistant, [complex_dialogue()]))


@pytest.mark.parametrize(("pretrained", "prompt_format", "told"), [(True, TINY, 1), (True, PAPER, 0), (False, TINY, 0)])
def test_a_pretrained_model_that_is_asked_without_sentences_is_warned_of(pretrained, prompt_format, told, recwarn):
    check_wording(CausalLanguageModel("a folder" if pretrained else {"model_type": "llama"}, "words"), prompt_format)
    warned = [str(one.message) for one in recwarn if "prompt_format" in str(one.message)]
    assert len(warned) == told
    assert all("asks it 'list sky dog answer'; set `prompt_format: paper`" in text for text in warned)


def test_the_command_line_shows_no_traceback(tmp_path, capsys):
    config = write_config(tmp_path, write_scenes(tmp_path / "scenes"))
    part = {"class_path": f"{__name__}.StatedEncoder", "init_args": {"channels": [48, 32]}}
    options = [f"--trainer.default_root_dir={tmp_path}", f"--model.assistant.vision_encoder={json.dumps(part)}"]
    with pytest.raises(SystemExit) as stopped:
        main(["fit", f"--config={config}", *options])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "error: vision_encoder: StatedEncoder states maps of 48 x 4 x 4" in error
    assert "Traceback" not in error


class FewSettings(TinyModel):
    """Has neither adapters nor a choice of new rows."""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (FewSettings, ["train the layer (model.trainable)"]),
        (TinyLanguageModel, ["train the layer (adapter.embeddings: true, model.trainable)"]),
        (SmolLM2, ["train the layer (adapter.embeddings: true, model.trainable)"]),
        (CausalLanguageModel, ["adapter.embeddings: true", "new_tokens: random"]),
    ],
)
def test_equal_rows_are_refused_with_settings_that_the_class_has(kind, said):
    model = TinyModel()
    assistant_of(model=model)
    network = model.network.requires_grad_(False)
    network.get_output_embeddings().weight.data.fill_(0.0)
    # a name of its own: as long as the class lives, a config that says the other name would fit both
    model.__class__ = type(f"{kind.__name__}Settings", (TinyModel,), {"__init__": kind.__init__})
    with pytest.raises(ConfigError, match="equal rows") as refused:
        check_presence(model, TINY)
    assert all(words in str(refused.value) for words in said)
    assert ("new_tokens" in str(refused.value)) == ("new_tokens: random" in said)
