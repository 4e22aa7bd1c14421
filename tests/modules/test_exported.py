"""Image encoder and mask decoder as programs: what they compute is what the live assistant computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lasagna.errors import ConfigError
from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.exported import export_programs, load_resized
from lasagna.modules.image_processors import PadImageProcessor
from lasagna.modules.tiny.weights import ASSISTANT


class PaddedEncoder(TinyVisionEncoder):
    """The tiny encoder, which pads images at the right and the bottom."""

    @property
    def image_processor(self):
        return PadImageProcessor(self.image_size, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))


def picture(rng, size):
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


@torch.no_grad()
def test_programs_compute_what_the_assistant_computes_for_other_numbers_and_sizes():
    assistant = Assistant(PaddedEncoder(), TinyLanguageModel(), TinyMaskHead(), "tiny")
    assistant.configure_model()
    assistant.train()
    programs = export_programs(assistant)
    assert assistant.training
    assistant.eval()
    encode, draw = programs.encoder.module(), programs.decoder.module()
    processor, rng = assistant.vision_encoder.image_processor, np.random.default_rng(0)
    for size, images, prompts in (((300, 500), 1, 1), ((70, 31), 3, 40)):
        pictures = [picture(rng, size) for _ in range(images)]
        maps = encode(torch.stack([processor.fitted(one).values for one in pictures]))
        live = assistant.vision_encoder(torch.stack([processor.pixels(one) for one in pictures]))
        assert [torch.allclose(*pair, atol=1e-5) for pair in zip(maps, live, strict=True)] == [True] * 3
        states = torch.randn(prompts, assistant.language_model.hidden_size)
        index = torch.arange(prompts) % images
        logits, scores = draw(maps, states, index)
        wanted = assistant.mask_head(live, assistant.prompt_projection(states), index)
        assert torch.allclose(logits[:, 0], wanted, atol=1e-4)
        assert torch.equal(scores, torch.ones(prompts, 1))


def test_half_precision_is_refused():
    assistant = Assistant(TinyVisionEncoder(), TinyLanguageModel(), TinyMaskHead(), "tiny")
    assistant.configure_model()
    with pytest.raises(ConfigError, match="prompt_projection: only float32 can be exported"):
        assistant.prompt_projection.half()
        export_programs(assistant)


def test_an_input_size_is_checked_by_the_encoder():
    assert load_resized(ASSISTANT, (64, 96)).vision_encoder.spec.image_size == (64, 96)
    with pytest.raises(ConfigError, match="multiples of 16"):
        load_resized(ASSISTANT, (100, 100))
