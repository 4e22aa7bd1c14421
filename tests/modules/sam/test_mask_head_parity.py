"""SAM's parts give the numbers of the original code (see ../shared/golden/README.md)."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

pytestmark = pytest.mark.shared
FILES = ["tiny_sam.pth", "release/pytorch_model.bin"]
CLOSE = {"atol": 1.5e-4, "rtol": 0.0}
"""Ten times the distance between two versions of torch that ran the original code."""


@pytest.fixture(scope="module")
def golden(shared):
    if not (shared / "golden" / "checkpoints" / "tiny_sam.pth").is_file():
        pytest.skip("there are no golden numbers of the original code in shared/golden")
    return shared / "golden"


@pytest.fixture(scope="module", params=FILES)
def weights(request, golden):
    return str(golden / "checkpoints" / request.param)


@pytest.fixture(scope="module")
def encoder(weights):
    encoder = SamVisionEncoder(weights_file=weights)
    encoder.build()
    return encoder.eval()


@pytest.fixture(scope="module")
def pixels(golden):
    image_processor = SamVisionEncoder("vit_b").image_processor
    return {name: image_processor.pixels(picture(golden, name)) for name in "ab"}


@pytest.fixture(scope="module")
def maps(encoder, pixels):
    with torch.no_grad():
        return encoder(torch.stack([pixels["a"], pixels["b"]]))


@pytest.fixture(scope="module")
def head(encoder, weights):
    head = SamMaskHead(weights, chunk=2)
    head.build(encoder.spec)
    return head.eval()


def picture(golden, name):
    return np.asarray(Image.open(golden / "inputs" / f"image_{name}.png"))


@pytest.mark.parametrize("name", ["a", "b"])
def test_processor_is_identical(golden, pixels, name):
    facts = json.loads((golden / "inputs" / "inputs.json").read_text())[f"image_{name}"]
    geometry = SamVisionEncoder("vit_b").image_processor.geometry(tuple(facts["original_hw"]))
    assert list(geometry.resized) == facts["sam_resized_hw"]
    assert hashlib.sha256(pixels[name].numpy().tobytes()).hexdigest() == facts["sam_tensor_f32_sha256"]


def test_names_and_shapes_are_those_of_the_original(golden, encoder, head):
    expected = json.loads((golden / "checkpoints" / "keys.json").read_text())["tiny_sam"]
    found = {**encoder.state_dict(), **head.state_dict()}
    assert {name: list(value.shape) for name, value in found.items()} == expected


def test_image_embeddings_and_positions(golden, maps, head):
    expected = np.load(golden / "outputs" / "image_embeddings.npz")
    for position, name in enumerate("ab"):
        found = maps[0][position, :, ::4, ::4]
        torch.testing.assert_close(found, torch.from_numpy(expected[f"emb_{name}_stride4"]), **CLOSE)
    places = head.prompt_encoder.positions(64, 64).T.unflatten(1, (64, 64))[:, ::4, ::4]
    torch.testing.assert_close(places, torch.from_numpy(expected["dense_pe_stride4"]), **CLOSE)


def test_masks_of_two_images(golden, maps, head, encoder):
    expected = np.load(golden / "outputs" / "random_two_image.npz")
    index = torch.tensor([0, 0, 0, 1, 1])
    with torch.no_grad():
        masks = head(maps, torch.from_numpy(expected["seg_embeddings"]), index)
    torch.testing.assert_close(masks, torch.from_numpy(expected["low_res"]), **CLOSE)
    for image, name in enumerate("ab"):
        check_full_size(golden, encoder, masks[index == image], name, expected[f"post_{image}_stride8"])


def test_masks_of_one_image(golden, maps, head, encoder):
    expected = np.load(golden / "outputs" / "random_refer.npz")
    with torch.no_grad():
        masks = head([maps[0][1:]], torch.from_numpy(expected["seg_embeddings"]), torch.zeros(2, dtype=torch.long))
    check_full_size(golden, encoder, masks, "b", expected["post_0_stride8"])


def check_full_size(golden, encoder, masks, name, expected):
    geometry = encoder.image_processor.geometry(picture(golden, name).shape[:2])
    whole = interpolate(masks[None], geometry.padded, mode="bilinear", align_corners=False)
    seen = whole[..., : geometry.resized[0], : geometry.resized[1]]
    full = interpolate(seen, geometry.original, mode="bilinear", align_corners=False)[0, :, ::8, ::8]
    torch.testing.assert_close(full, torch.from_numpy(expected), **CLOSE)
