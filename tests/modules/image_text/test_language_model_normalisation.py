"""A tower gets images normalised as its model's own processor says, wherever the model comes from."""

from __future__ import annotations

import json

import huggingface_hub
import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor

from lasagna.core.prompt_formats import TINY
from lasagna.errors import ConfigError
from lasagna.modules.image_text.language_model import DEVIATION, MEAN, ImageTextModel, tower_normalisation
from tests.helpers.image_text_models import CONFIGS, FEATURES, built

SETTINGS = {"image_processor_type": "SiglipImageProcessor", "image_mean": [0.5, 0.4, 0.3], "image_std": [0.1, 0.2, 0.3]}
OWN = ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
HUB = ("models--someone--tiny", "snapshots", "0" * 40)


def written(folder, form):
    """Write a processor's settings as older and newer versions of transformers save them."""
    name, content = {
        "older": ("preprocessor_config.json", SETTINGS),
        "newer": ("processor_config.json", {"processor_class": "LlavaProcessor", "image_processor": SETTINGS}),
    }[form]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def cached(folder, monkeypatch, form):
    """Put settings where the hub's local cache would have them, and return the model's name."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    written(folder.joinpath(*HUB), form)
    refs = folder / HUB[0] / "refs"
    refs.mkdir()
    (refs / "main").write_text(HUB[2], encoding="utf-8")
    return "someone/tiny"


@pytest.mark.parametrize("form", ["older", "newer"])
@pytest.mark.parametrize("place", ["folder", "hub"])
def test_what_the_processor_says_counts(place, form, tmp_path, monkeypatch):
    model = str(written(tmp_path, form)) if place == "folder" else cached(tmp_path, monkeypatch, form)
    assert tower_normalisation(model, download=False) == OWN


def test_a_processor_that_does_not_normalise(tmp_path):
    settings = SETTINGS | {"do_normalize": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert tower_normalisation(str(tmp_path), download=False) == ((0.0,) * 3, (1.0,) * 3)


def test_clips_where_nothing_is_said(tmp_path):
    assert tower_normalisation(str(tmp_path), download=False) == (MEAN, DEVIATION)
    assert tower_normalisation(CONFIGS["llava"], download=False) == (MEAN, DEVIATION)


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"model: the image processor of .* cannot be read"):
        tower_normalisation(str(tmp_path), download=False)


def test_pixels_are_those_of_the_processor(tmp_path):
    """Of an image of the tower's size, so that nothing is resized."""
    built("llava").vlm.save_pretrained(tmp_path)
    written(tmp_path, "newer")
    model = ImageTextModel(str(tmp_path), "words", max_length=512)
    model.build(FEATURES, TINY.special_tokens)
    picture = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    own = processor(picture, do_resize=False, return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(model.tower_processor.pixels(picture), own, atol=1e-5, rtol=1e-5)
