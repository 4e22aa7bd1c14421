"""LLM-Seg40K: questions with a mask in a file."""

import json

import numpy as np
from PIL import Image

from lasagna.datamodules.converters.llm_seg import LLMSeg40K
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SQUARE, draw
from tests.helpers.converter_contract import Expected


class TestLLMSeg40K(BriefConverterContract):
    def release(self, folder):
        images = {"000000000009.jpg": "train2017", "A1.jpg": "ego_objects/images"}
        paths = {name: draw(folder / place / name) for name, place in images.items()}
        (folder / "masks").mkdir()
        Image.fromarray(SQUARE.astype(np.uint8) * 255).save(folder / "masks" / "1.png")
        pair = {"question": "what holds water?", "answer": "The bowl.", "segmentation_path": "/home/x/set/masks/1.png"}
        content = {
            "000000000009.jpg": {"from_dataset": "coco", "qa_pairs": [pair]},
            "A1.jpg": {"from_dataset": "ego_objects", "qa_pairs": [pair | {"segmentation_path": "masks/1.png"}]},
        }
        (folder / "validation.json").write_text(json.dumps(content))
        asked = {"what holds water?": "The bowl."}
        return {"validation": {path.stem: Expected(path, absent=set(), questions=asked) for path in paths.values()}}

    def converter(self, folder):
        return LLMSeg40K(folder)


def test_the_mask_is_what_is_not_black(tmp_path):
    TestLLMSeg40K().release(tmp_path)
    for record in LLMSeg40K(tmp_path).splits()["validation"].records():
        [question] = record.questions
        assert (question.masks[0].decode() == SQUARE).all()
