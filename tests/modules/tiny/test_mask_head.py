"""The tiny mask head: one mask a prompt, whatever the chunks and the encoder."""

from __future__ import annotations

import pytest
import torch

from lasagna.modules import FeatureSpec, TinyMaskHead
from tests.helpers.parts import built, maps_of


def head_of(spec, chunk=256):
    return built(TinyMaskHead(weights="random", chunk=chunk), spec)


SPECS = [
    FeatureSpec((96, 48, 32), (8, 4, 2), (96, 96)),
    FeatureSpec((40,), (16,), (64, 96)),
    FeatureSpec((40, 24), (16, 8), (64, 96)),
]


@pytest.mark.parametrize("spec", SPECS)
def test_masks_cover_the_input_at_a_quarter_of_the_main_stride(spec):
    masks = head_of(spec)(maps_of(spec, 2), torch.randn(3, 64), torch.tensor([0, 1, 1]))
    assert masks.shape == (3, 4 * spec.grid[0], 4 * spec.grid[1])


def test_chunks_change_nothing():
    spec, prompts, index = SPECS[0], torch.randn(5, 64), torch.tensor([0, 1, 0, 1, 1])
    whole, parts = head_of(spec)(maps_of(spec, 2), prompts, index), head_of(spec, 2)(maps_of(spec, 2), prompts, index)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-5)


def test_each_prompt_sees_its_own_image():
    spec, prompts = SPECS[0], torch.randn(2, 64)
    head, maps = head_of(spec), maps_of(spec, 2)
    both = head(maps, prompts, torch.tensor([0, 1]))
    alone = head([features[1:] for features in maps], prompts[1:], torch.tensor([0]))
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)


def test_no_prompts_give_no_masks():
    spec = SPECS[0]
    masks = head_of(spec)(maps_of(spec, 1), torch.zeros(0, 64), torch.zeros(0, dtype=torch.long))
    assert masks.shape == (0, 48, 48)


def test_chunk_must_be_positive():
    with pytest.raises(ValueError, match="chunk: expected at least 1"):
        TinyMaskHead(chunk=0)
