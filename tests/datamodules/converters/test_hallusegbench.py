"""HalluSegBench: two records for each pair, each asked for what is on one of the images."""

import json

import numpy as np
import pytest
from PIL import Image

from lasagna.core.image_pairs import pair_of
from lasagna.datamodules.converters.common.conversion import coco_number
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.hallusegbench import HalluSegBench
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, draw
from tests.helpers.converter_contract import Expected

NAME = "COCO_train2014_000000533293"
OTHER = np.roll(SQUARE, 3, axis=1)


def write_mask(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8) * 255).save(path)


def write_pair(folder, **fields):
    """Write the files of a pair and a list that names them."""
    paths = {"factual_image_path": f"factual_images/{NAME}.jpg"}
    paths["counterfactual_image_path"] = f"counterfactual_images/{NAME}_7_edited.png"
    masks = {f"{side}_mask_path": f"{side}_masks/1_7_mask.png" for side in ("factual", "counterfactual")}
    images = [draw(folder / path) for path in paths.values()]
    for path, pixels in zip(masks.values(), (SQUARE, OTHER), strict=True):
        write_mask(folder / path, pixels)
    (folder / "data.json").write_text(json.dumps([{"ann_id": 7, **paths, **masks, **fields}]))
    return images


class TestHalluSegBench(BriefConverterContract):
    def release(self, folder):
        labels = {"factual_label": "red tie", "counterfactual_label": "blue scarf"}
        factual, edited = write_pair(folder / "refer_seg", **labels)
        nothing = np.zeros(SIZE, bool)
        made = {
            f"{NAME}~000000-factual": (factual, {"red tie": SQUARE, "blue scarf": nothing}),
            f"{NAME}~000000-counterfactual": (edited, {"blue scarf": OTHER, "red tie": nothing}),
        }
        found = {key: Expected(image, absent=set(), phrases=phrases) for key, (image, phrases) in made.items()}
        return {"refer_seg": found}

    def converter(self, folder):
        return HalluSegBench(folder)


def test_questions_of_the_reasoning_part_belong_to_their_pair(tmp_path):
    write_pair(tmp_path, question="what warms the neck?", counterfactual_question="what is tied?")
    [split] = HalluSegBench(tmp_path).splits().values()
    image, twin = split.records()
    assert coco_number(image.key) == coco_number(twin.key) == NAME[-12:]
    asked = {"what warms the neck?": "factual", "what is tied?": "counterfactual"}
    for record, side, truth in ((image, "factual", SQUARE), (twin, "counterfactual", OTHER)):
        for question in record.questions:
            present = asked[question.text] == side
            assert len(question.masks) == present and pair_of(question.group) == ("test-000000", side)
            assert not present or (question.masks[0].decode() == truth).all()


def test_a_mask_of_another_size_is_scaled_to_its_image_and_what_is_missing_is_named(tmp_path):
    write_pair(tmp_path, factual_label="a", counterfactual_label="b")
    write_mask(tmp_path / "factual_masks" / "1_7_mask.png", np.kron(SQUARE, np.ones((2, 2), bool)))
    image, _ = HalluSegBench(tmp_path).splits()["test"].records()
    assert (image.phrases[0].masks[0].decode() == SQUARE).all()
    write_pair(tmp_path, factual_label="a")
    with pytest.raises(LayoutError, match=r"entry 0: 'counterfactual_label' must be a text, got None"):
        HalluSegBench(tmp_path).splits()["test"]
    with pytest.raises(LayoutError, match=r"holds no data.json; expected it there or in its folders"):
        HalluSegBench(tmp_path / "factual_masks").splits()
