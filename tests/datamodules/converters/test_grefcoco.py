import json

import numpy as np
import pytest

from lasagna.datamodules.converters import LayoutError
from lasagna.datamodules.converters.grefcoco import GRefCOCO
from tests.helpers.coco_files import SIZE, SQUARE, polygon
from tests.helpers.converter_contract import ConverterContract, Expected
from tests.helpers.refer_files import BAND, reference, write_things


class TestGRefCOCO(ConverterContract):
    def release(self, folder):
        images = folder / "images/mscoco/images/train2014"
        write_things(folder / "grefcoco", {7: "COCO_train2014_000000000007.jpg"}, images)
        references = [
            reference([1, 2], "train", "all of them"),
            reference([-1], "train", "a green dog") | {"no_target": True},
            reference(2, "train", "the square"),
            reference([2, 3], "train", "one of two"),
            reference([4, 2], "val", "not the crowd"),
        ]
        (folder / "grefcoco" / "grefs(unc).json").write_text(json.dumps(references))
        image, key = images / "COCO_train2014_000000000007.jpg", "COCO_train2014_000000000007"
        two = SQUARE | BAND
        phrases = {"all of them": polygon() | two, "a green dog": np.zeros(SIZE, bool), "the square": two}
        return {
            "train": {key: Expected(image, absent=set(), phrases=phrases)},
            "val": {key: Expected(image, absent=set(), phrases={"not the crowd": two})},
        }

    def converter(self, folder):
        return GRefCOCO(folder)


def test_each_target_has_a_mask_of_its_own(tmp_path):
    TestGRefCOCO().release(tmp_path)
    (record,) = GRefCOCO(tmp_path).splits()["train"].records()
    assert {phrase.text: len(phrase.masks) for phrase in record.phrases} == {
        "all of them": 2,
        "a green dog": 0,
        "the square": 1,
    }


def test_phrases_that_fit_only_crowds_are_counted_and_do_not_fit_nothing(tmp_path):
    TestGRefCOCO().release(tmp_path)
    references = [
        reference([4], "train", "the crowd"),
        reference([], "train", "nobody knows"),
        reference([-1], "train", "by its id"),
        reference(-1, "train", "by a plain id"),
        reference([], "train", "by its flag") | {"no_target": True},
    ]
    (tmp_path / "grefcoco" / "grefs(unc).json").write_text(json.dumps(references))
    found = GRefCOCO(tmp_path).splits()["train"].reading(0)
    assert [phrase.text for phrase in found.record.phrases] == ["by its id", "by a plain id", "by its flag"]
    assert [(part.reason, part.where.partition(" of ")[0]) for part in found.left_out] == [
        ("phrase without a mask", "'the crowd'"),
        ("phrase without a mask", "'nobody knows'"),
    ]


def test_phrases_of_several_things_are_left_out_where_one_of_them_has_no_mask(tmp_path):
    TestGRefCOCO().release(tmp_path)
    several = [reference([1, 2], "train", "both"), reference([1, 3], "train", "one of two")]
    (tmp_path / "grefcoco" / "grefs(unc).json").write_text(json.dumps(several))
    found = GRefCOCO(tmp_path).splits()["train"].reading(0)
    assert [phrase.text for phrase in found.record.phrases] == ["both"]
    reasons = [part.reason for part in found.left_out]
    assert reasons == ["empty segmentation", "phrase of several things, one of which has no mask"]


def test_phrases_about_things_that_are_not_there_are_named(tmp_path):
    TestGRefCOCO().release(tmp_path)
    path = tmp_path / "grefcoco" / "grefs(unc).json"
    path.write_text(json.dumps([reference([9], "train", "nine"), reference([1], "train", "one", image=55)]))
    with pytest.raises(LayoutError, match=r"about 1 images that are not in it \(55\)"):
        GRefCOCO(tmp_path).splits()
    path.write_text(json.dumps([reference([9], "train", "nine")]))
    with pytest.raises(LayoutError, match=r"about 1 annotations that are not in it \(9\)"):
        GRefCOCO(tmp_path).splits()
    path.write_text(json.dumps([{"ref_id": 1}]))
    with pytest.raises(LayoutError, match=r"references\[0\]: `split` is missing; it has ref_id"):
        GRefCOCO(tmp_path).splits()


def test_things_of_one_id_are_named(tmp_path):
    TestGRefCOCO().release(tmp_path)
    path = tmp_path / "grefcoco" / "instances.json"
    content = json.loads(path.read_text())
    first = content["annotations"][0]
    path.write_text(json.dumps(content | {"annotations": [*content["annotations"], first]}))
    GRefCOCO(tmp_path).splits()
    path.write_text(json.dumps(content | {"annotations": [first | {"iscrowd": 7}, *content["annotations"]]}))
    with pytest.raises(LayoutError, match=rf"1 annotations share their id with another one \({first['id']}\)"):
        GRefCOCO(tmp_path).splits()
