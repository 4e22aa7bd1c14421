"""MUSE and MMR: questions that several things answer."""

import json

from lasagna.datamodules.converters.multi_target import MMR, MUSE
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, TRIANGLE, draw, rle
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND


def entry(questions, answers, **more):
    return {"height": SIZE[0], "width": SIZE[1], "questions": questions, "answers": answers, **more}


def target(coding, **more):
    return {"segmentation": coding, "bbox": [1, 2, 3, 4], "category_name": "thing", **more}


class TestMUSE(BriefConverterContract):
    def release(self, folder):
        image = draw(folder / "train2017" / "000000000009.jpg")
        old = draw(folder / "train2014" / "COCO_train2014_000000000007.jpg")
        address = {"coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg", "ann_list": []}
        content = [
            entry(["what can one sit on?"], [[target([TRIANGLE]), target(rle(BAND))]], **address),
            entry(["what stands?", "what is lost?"], [[target(rle(SQUARE))], [target([])]], **address),
            entry(["what lies?"], [[target(rle(BAND))]], file_name="COCO_train2014_000000000007.jpg"),
        ]
        (folder / "MUSE_val.json").write_text(json.dumps(content))
        asked = {"what can one sit on?": "", "what stands?": ""}
        return {
            "val": {
                "000000000009": Expected(image, absent=set(), questions=asked),
                "COCO_train2014_000000000007": Expected(old, absent=set(), questions={"what lies?": ""}),
            }
        }

    def converter(self, folder):
        return MUSE(folder)


class TestMMR(BriefConverterContract):
    def release(self, folder):
        image = draw(folder / "refer_seg/images/mscoco/images/train2017/000000000009.jpg")
        words = "The seat {seg} and its back {seg}."
        made = entry(
            ["what can one sit on?"],
            [[target(rle(SQUARE)), target(rle(BAND))]],
            text_answers=[words],
            file_name="train2017/000000000009.jpg",
        )
        (folder / "MMR").mkdir()
        (folder / "MMR" / "MMR_test_obj_only.json").write_text(json.dumps([made]))
        asked = {"what can one sit on?": "The seat and its back."}
        return {"test_obj_only": {"000000000009": Expected(image, absent=set(), questions=asked)}}

    def converter(self, folder):
        return MMR(folder)


def test_each_target_has_a_mask_of_its_own(tmp_path):
    TestMUSE().release(tmp_path)
    record = next(MUSE(tmp_path).splits()["val"].records())
    assert [len(question.masks) for question in record.questions] == [2, 1]
    assert (record.questions[0].masks[1].decode() == BAND).all()
