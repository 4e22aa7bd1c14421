"""SA-Co/Gold: noun phrases with the objects of several annotators."""

import json

import numpy as np
import pytest

from lasagna.datamodules.converters import LayoutError
from lasagna.datamodules.converters.saco_gold import SACoGold
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, draw, rle
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND

NAME = "metaclip_0_9/metaclip_0_abc.jpeg"


def pair(number, text, exhaustive=True):
    return {
        "id": number,
        "file_name": NAME,
        "text_input": text,
        "height": SIZE[0],
        "width": SIZE[1],
        "is_instance_exhaustive": exhaustive,
    }


def write_annotator(folder, letter, masks, images=None):
    images = images or [pair("10", "the square"), pair("11", "a band"), pair("12", "a cow"), pair("13", "all", False)]
    annotations = [
        {"id": rank, "image_id": number, "category_id": 1, "segmentation": rle(mask), "bbox": [0, 0, 1, 1]}
        for rank, (number, mask) in enumerate(masks)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    (folder / f"gold_crowded_merged_{letter}_release_test.json").write_text(json.dumps(content))


class TestSACoGold(BriefConverterContract):
    def release(self, folder):
        image = draw(folder / NAME)
        write_annotator(folder, "a", [("10", SQUARE), ("10", BAND), ("11", BAND), ("13", BAND)])
        write_annotator(folder, "b", [("10", SQUARE), ("12", SQUARE)])
        phrases = {"the square": SQUARE | BAND, "a band": BAND, "a cow": np.zeros(SIZE, bool)}
        return {"crowded": {"metaclip_0_9-metaclip_0_abc": Expected(image, absent=set(), phrases=phrases)}}

    def converter(self, folder):
        return SACoGold(folder)


def test_each_annotator_has_objects_of_their_own(tmp_path):
    TestSACoGold().release(tmp_path)
    split = SACoGold(tmp_path).splits()["crowded"]
    [record] = split.records()
    counts = {one.text: (len(one.masks), [len(masks) for masks in one.annotators]) for one in record.phrases}
    assert counts == {"the square": (2, [1]), "a band": (1, [0]), "a cow": (0, [1])}
    assert list(split.notes) == ["1 phrases of which not every object was drawn were left out"]
    write_annotator(tmp_path, "c", [], [pair("10", "another")])
    with pytest.raises(LayoutError, match=r"merged_c_release_test\.json: it has other phrases than"):
        SACoGold(tmp_path).splits()["crowded"]
