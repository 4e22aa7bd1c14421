"""Image-text models give the numbers of transformers' own forward, with tiny random weights and no network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_language_models import LanguageModelContract

from lasagna.errors import ConfigError
from lasagna.modules import Assistant, FeatureSpec, LoRA, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.image_text import FAMILIES, ImageTextModel
from lasagna.modules.image_text.families import grid_positions
from lasagna.prompt_formats import PAPER, TINY

FEATURES = FeatureSpec((1,), (1,), (1, 1))
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 3000,
    "max_position_embeddings": 512,
}
VISION = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
QWEN_VISION = {"depth": 2, "num_heads": 2, "patch_size": 7, "spatial_merge_size": 2, "temporal_patch_size": 2}
QWEN_TEXT = TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}
CONFIGS = {
    "llava": {
        "model_type": "llava",
        "vision_config": VISION | {"model_type": "clip_vision_model", "image_size": 28, "patch_size": 7},
        "text_config": TEXT | {"model_type": "llama"},
        "image_token_index": 2999,
    },
    "internvl": {
        "model_type": "internvl",
        "vision_config": VISION | {"model_type": "internvl_vision", "image_size": [28, 28], "patch_size": [7, 7]},
        "text_config": TEXT | {"model_type": "qwen2"},
        "image_token_id": 2999,
        "downsample_ratio": 0.5,
    },
    "smolvlm": {
        "model_type": "smolvlm",
        "vision_config": VISION | {"model_type": "smolvlm_vision", "image_size": 28, "patch_size": 7},
        "text_config": TEXT | {"model_type": "llama", "pad_token_id": 0},
        "image_token_id": 2999,
        "scale_factor": 2,
    },
    "idefics3": {
        "model_type": "idefics3",
        "vision_config": VISION | {"model_type": "idefics3_vision", "image_size": 28, "patch_size": 7},
        "text_config": TEXT | {"model_type": "llama", "pad_token_id": 0},
        "image_token_id": 2999,
        "scale_factor": 2,
    },
    "qwen2_5_vl": {
        "model_type": "qwen2_5_vl",
        "vision_config": QWEN_VISION
        | {
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "window_size": 28,
            "fullatt_block_indexes": [1],
        },
        "text_config": QWEN_TEXT,
        "image_token_id": 2999,
        "vision_start_token_id": 2998,
        "vision_end_token_id": 2997,
    },
    "qwen2_vl": {
        "model_type": "qwen2_vl",
        "vision_config": QWEN_VISION | {"embed_dim": 32, "hidden_size": 32},
        "text_config": QWEN_TEXT,
        "image_token_id": 2999,
        "vision_start_token_id": 2998,
        "vision_end_token_id": 2997,
    },
}


def made(kind, **settings):
    return ImageTextModel(CONFIGS[kind], "words", **{"image_size": 28, "max_length": 512} | settings)


def built(kind, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = made(kind, **settings)
        model.build(FEATURES, TINY.special_tokens)
        # fresh projections are so small that a wrong image would go unnoticed
        with torch.no_grad():
            for value in model.vlm.parameters():
                value.copy_(value * 3)
    return model.eval()


class TestLlava(LanguageModelContract):
    kind = "llava"

    def make(self):
        return made(self.kind)

    def vectors(self, model, count=1):
        pixels = torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(1))
        return model.embed_image([pixels]).detach()

    def test_gradients_reach_what_is_trained(self):
        model = self.build().train()
        ids = torch.tensor([self.prompt(model)])
        hidden = self.hidden(model, ids, torch.ones_like(ids), self.vectors(model))
        model.logits(hidden).square().mean().backward()
        trained = [value for value in model.decoder.parameters() if value.requires_grad]
        assert trained
        assert all(value.grad is not None for value in trained)

    def test_logits_are_those_of_the_model_itself(self):
        """Run transformers' own forward on the same ids and pixels, which places image and positions by itself."""
        model = built(self.kind)
        names = ("sun", "dog", "house")
        ids = torch.tensor([model.preparation.prompt_ids(TINY.prompt("complex", names))])
        picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        pixels = model.tower_preparation.pixels(picture)[None]
        with torch.no_grad():
            hidden = self.hidden(model, ids, torch.ones_like(ids), model.embed_image([pixels]))
            found = model.logits(hidden)
            own = model.vlm(**self.own_arguments(model, ids, pixels)).logits
            blind = model.vlm(**self.own_arguments(model, ids, pixels * 0 + 0.5)).logits
        torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-4)
        assert (own - blind).abs().max() > 0.01

    def own_arguments(self, model, ids, pixels):
        image = getattr(model.vlm.config, "image_token_id", None) or model.vlm.config.image_token_index
        own = ids.masked_fill(ids == model.image_token_id, image)
        arguments = model._family.arguments(pixels, model.vlm.config)
        arguments["attention_mask"] = torch.ones_like(ids)
        if model._family.axes:
            arguments["mm_token_type_ids"] = (own == image).int()
        return {"input_ids": own, **arguments}

    def test_an_assistant_takes_a_step(self):
        model = made(self.kind, adapter=LoRA(rank=2, targets=("q_proj",), embeddings=False))
        assistant = Assistant(
            TinyVisionEncoder((32, 32), weights="random"), model, TinyMaskHead(weights="random"), prompt_format="paper"
        )
        assistant.configure_model()
        trained = {name for name, value in model.named_parameters() if value.requires_grad}
        assert trained
        assert all("lora_" in name for name in trained)
        decoder = {id(value) for value in model.decoder.parameters()}
        assert all(id(value) in decoder for name, value in model.named_parameters() if name in trained)


class TestInternVL(TestLlava):
    kind = "internvl"


class TestSmolVLM(TestLlava):
    kind = "smolvlm"


class TestIdefics3(TestLlava):
    kind = "idefics3"


class TestQwen25VL(TestLlava):
    kind = "qwen2_5_vl"


class TestQwen2VL(TestLlava):
    kind = "qwen2_vl"


def test_every_family_is_proven():
    assert FAMILIES.keys() == CONFIGS.keys()


def test_positions_with_three_axes():
    found = grid_positions(torch.arange(8)[None], first=2, grid=2)[:, 0]
    assert found.tolist() == [[0, 1, 2, 2, 2, 2, 4, 5], [0, 1, 2, 2, 3, 3, 4, 5], [0, 1, 2, 3, 2, 3, 4, 5]]


def test_the_image_stands_first_wherever_the_format_has_it():
    model = made("llava")
    model.build(FEATURES, PAPER.special_tokens)
    text = model.preparation
    ids = text.prompt_ids(PAPER.prompt("referring", ("dog",)))
    assert ids[: text.image_tokens] == [model.image_token_id] * text.image_tokens
    assert model.image_token_id not in ids[text.image_tokens :]


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"no way yet to read a 'paligemma'; there are llava \(LLaVA 1.5\)"):
        ImageTextModel({"model_type": "paligemma"}, "words").build(FEATURES, TINY.special_tokens)
    with pytest.raises(ConfigError, match="image_size: 30 is not a multiple of 14"):
        built("qwen2_5_vl", image_size=30)
    with pytest.raises(ConfigError, match="quantization"):
        built("llava", quantization="8bit")
