"""Masks of clicks, boxes and earlier masks are those of transformers' SAM and SAM 2."""

from __future__ import annotations

import pytest
import torch
from transformers import SamModel

from lasagna.core.visual_prompt import FittedPrompt
from lasagna.modules import FeatureSpec
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam2.mask_head import Sam2MaskHead
from lasagna.modules.sam2.vision_encoder import STRIDES
from tests.helpers.parts import built, maps_of
from tests.helpers.sam2_model import image_model
from tests.helpers.sam_model import CELLS, SIDE, sam_model, sam_state

CLOSE = {"atol": 2e-4, "rtol": 1e-5}
POINTS, LABELS = [[5.0, 40.0], [33.5, 12.0], [60.0, 61.0]], [1, 0, 1]
CASES = {
    "a click": (1, None, False),
    "positive and negative clicks": (3, None, False),
    "a box": (0, [8.0, 4.0, 50.0, 30.5], False),
    "clicks in a box": (2, [8.0, 4.0, 50.0, 30.5], False),
    "a click that mends a mask": (1, None, True),
    "clicks in a box that mend a mask": (3, [8.0, 4.0, 50.0, 30.5], True),
}


@pytest.fixture(scope="module", params=["sam", "sam2"])
def models(request, tmp_path_factory):
    """Transformers' model, and a mask head with its weights, with the maps that both read."""
    folder = tmp_path_factory.mktemp("weights")
    if request.param == "sam":
        model = sam_model()
        torch.save(sam_state(model), folder / "sam.pth")
        spec = FeatureSpec((32,), (SIDE // CELLS,), (SIDE, SIDE))
        size = SamHeadSize(32, 2, 4, 48, mask_channels=8, iou_dim=24)
        return model, built(SamMaskHead(str(folder / "sam.pth"), size), spec), maps_of(spec, 1)
    model = image_model()
    model.save_pretrained(folder)
    spec = FeatureSpec((32, 8, 4), STRIDES, (SIDE, SIDE))
    return model, built(Sam2MaskHead(str(folder)), spec), maps_of(spec, 1)


@pytest.mark.parametrize("case", CASES)
def test_masks_are_those_of_transformers(models, case):
    model, head, maps = models
    count, box, mended = CASES[case]
    side = 4 * maps[0].shape[-1]
    mask = torch.randn(side, side, generator=torch.Generator().manual_seed(3)) if mended else None
    given = {
        "input_points": torch.tensor([[POINTS[:count]]]) if count else None,
        "input_labels": torch.tensor([[LABELS[:count]]]) if count else None,
        "input_boxes": None if box is None else torch.tensor([[box]]),
        "input_masks": None if mask is None else mask[None, None],
    }
    visual = FittedPrompt(
        torch.tensor(POINTS[:count]).reshape(-1, 2),
        torch.tensor(LABELS[:count], dtype=torch.bool),
        None if box is None else torch.tensor(box),
        mask,
    )
    embeddings = maps[0] if isinstance(model, SamModel) else maps[::-1]
    with torch.no_grad():
        expected = model(image_embeddings=embeddings, multimask_output=False, **given).pred_masks[0, 0, 0]
        found = head.draw(maps, None, visual)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, **CLOSE)


def test_words_stand_beside_clicks_and_change_the_mask(models):
    _, head, maps = models
    words = torch.randn(32, generator=torch.Generator().manual_seed(5))
    click = FittedPrompt(torch.tensor(POINTS[:1]), torch.tensor([True]))
    nothing = FittedPrompt(torch.empty(0, 2), torch.empty(0, dtype=torch.bool))
    with torch.no_grad():
        alone, both = head.draw(maps, None, click), head.draw(maps, words, click)
        plain = head(maps, words[None], torch.tensor([0]))[0]
        torch.testing.assert_close(head.draw(maps, words, nothing), plain, **CLOSE)
    assert (both - alone).abs().max() > 0.01
    assert (both - plain).abs().max() > 0.01
