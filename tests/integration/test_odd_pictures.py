"""Every encoder answers about pictures of any mode and shape, with masks of the size in which viewers show them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from lasagna.cli.answered_images import answer_images
from lasagna.core.batch import Query
from lasagna.core.masks import RLEMask
from lasagna.modules import Assistant, TinyLanguageModel, TinyVisionEncoder
from lasagna.modules.image_text.language_model import ImageTextModel
from lasagna.modules.mask_heads.dot import DotMaskHead
from lasagna.modules.sam.sizes import SamSize
from lasagna.modules.sam.vision_encoder import SamVisionEncoder
from lasagna.modules.sam2.sizes import Sam2Size
from lasagna.modules.sam2.vision_encoder import Sam2VisionEncoder
from lasagna.modules.vision_encoders.efficientnet_lite import EfficientNetLite0
from lasagna.modules.vision_encoders.shared_tower import SharedTower
from lasagna.modules.vision_encoders.timm import TimmEncoder
from tests.integration.test_matrix import MODELS, SAM, SAM2

ENCODERS = {
    "tiny": lambda: TinyVisionEncoder((32, 48), weights="random"),
    "timm, squashed": lambda: TimmEncoder("test_resnet", image_size=(32, 64)),
    "timm, padded": lambda: TimmEncoder("test_vit", image_size=(64, 32), resize="pad"),
    "timm, channels last": lambda: TimmEncoder("sam2_hiera_tiny", image_size=(32, 64), out_indices=(0, 2)),
    "lite0": lambda: EfficientNetLite0((64, 32), weights="random", resize="pad"),
    "sam": lambda: SamVisionEncoder(SamSize(**SAM | {"global_blocks": (1,)}, patch=8, out_channels=32)),
    "sam2": lambda: Sam2VisionEncoder(Sam2Size(**SAM2), image_size=(32, 64)),
    "shared, squashed": SharedTower,
    "shared, cropped": SharedTower,
}
RAMP = np.linspace(0, 255, 12 * 20).reshape(12, 20).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of every mode and of extreme shapes."""
    root = tmp_path_factory.mktemp("pictures")
    grey = Image.fromarray(RAMP)
    grey.save(root / "grey.png")
    grey.point(lambda value: 255 * (value > 100), "1").save(root / "bits.png")
    grey.convert("RGB").quantize(8).save(root / "palette.png")
    grey.quantize(8).save(root / "clear_palette.png", transparency=1)
    grey.convert("RGBA").save(root / "clear.png")
    grey.convert("LA").save(root / "clear_grey.png")
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(root / "deep.png")
    grey.convert("CMYK").save(root / "inks.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.convert("RGB").save(root / "turned.jpg", exif=exif)
    for name, shape in (("wide", (1, 2000)), ("tall", (2000, 1)), ("dot", (1, 1))):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)).save(root / f"{name}.png")
    return root


SIZES = {"turned": [20, 12], "wide": [1, 2000], "tall": [2000, 1], "dot": [1, 1]}


def language_model(encoder, tmp_path):
    if encoder == "shared, cropped":
        pytest.importorskip("sentencepiece")
        from lasagna.modules.llava.language_model import LlavaV1
        from tests.helpers.tiny_llava import write_llava

        return LlavaV1(str(write_llava(tmp_path)))
    if encoder == "shared, squashed":
        return ImageTextModel(**MODELS["image_text"][1])
    return TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_pictures_of_any_mode_and_shape_get_masks_of_their_size(encoder, folder, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = language_model(encoder, tmp_path)
        assistant = Assistant(ENCODERS[encoder](), model, DotMaskHead(16), "paper", presence_threshold=0.0).eval()
        assistant.configure_model()
    pictures, query = sorted(folder.iterdir()), Query(0, "categories", ("sun", "dog"))
    assert answer_images(assistant, [[file] for file in pictures], [query], tmp_path / "out", "ordered") == []
    for picture in pictures:
        answer = json.loads((tmp_path / "out" / f"{picture.stem}.json").read_text(encoding="utf-8"))
        size = SIZES.get(picture.stem, [12, 20])
        assert answer["size"] == size
        entries = answer["answers"][0]["entries"]
        assert [entry["name"] for entry in entries] == ["sun", "dog"]
        masks = [RLEMask.from_json(entry["mask"], tuple(size)).decode() for entry in entries]
        assert [list(mask.shape) for mask in masks] == [size, size]
        assert all(0 <= entry["score"] <= 1 and 0 <= entry["confidence"] <= 1 for entry in entries)
