"""FP-RefCOCO, R-RefCOCO and Ref-ZOM: which sentences fit nothing."""

import pickle

import numpy as np
import pytest

from lasagna.datamodules.converters import LayoutError
from lasagna.datamodules.converters.refer_absent import FPRefCOCO, RefZOM, RRefCOCO
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, polygon
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND, reference, write_things

NOTHING, BOTH = np.zeros(SIZE, bool), SQUARE | BAND


def said(target, split, number, marked, **more):
    """A reference with the marks of its sentences."""
    made = reference(target, split, *marked) | {"ref_id": number, **more}
    for sentence in made["sentences"]:
        sentence |= marked[sentence["sent"]]
    return made


class TestFPRefCOCO(BriefConverterContract):
    folder, author, part, name = "fprefcoco+", "berkeley_exclude_unified", "train2014", "COCO_train2014_7.jpg"
    wrong = {"is_false_premise": True, "gt_sent": "the man"}  # noqa: RUF012 - fixtures of the class
    references = [  # noqa: RUF012
        said(1, "val", 0, {"the man": {"is_false_premise": False}, "the woman": wrong}),
        said([-1], "val", 1, {"nobody": {}}),
    ]
    phrases = {"val": {"the man": polygon(), "the woman": NOTHING, "nobody": NOTHING}}  # noqa: RUF012

    def release(self, folder):
        images = folder / "images/mscoco/images" / self.part
        write_things(folder / self.folder, {7: self.name}, images)
        with (folder / self.folder / f"refs({self.author}).p").open("wb") as file:
            pickle.dump(self.references, file, protocol=2)
        key, image = self.name.removesuffix(".jpg"), images / self.name
        return {split: {key: Expected(image, absent=set(), phrases=phrases)} for split, phrases in self.phrases.items()}

    def converter(self, folder):
        return FPRefCOCO(folder, "refcoco+")


class TestRRefCOCO(TestFPRefCOCO):
    folder, author = "rrefcocog", "umd"
    references = [  # noqa: RUF012
        said(1, "val", 11, {"the man": {"exist": True}, "the dog": {"exist": False}}),
        said(2, "testA", 12, {"both": {}}),
    ]
    phrases = {"val": {"the man": polygon(), "the dog": NOTHING}, "testA": {"both": BOTH}}  # noqa: RUF012

    def converter(self, folder):
        return RRefCOCO(folder, "refcocog")


class TestRefZOM(TestFPRefCOCO):
    folder, author, part, name = "ref-zom", "final", "val2014", "COCO_val2014_7.jpg"
    references = [  # noqa: RUF012
        said([1, 2], "test", 0, {"all": {}}, source="many"),
        said([2], "test", 1, {"a square": {}}, source="one"),
        said([1], "test", 2, {"a cow": {}}, source="zero"),
    ]
    phrases = {"test": {"all": polygon() | BOTH, "a square": BOTH, "a cow": NOTHING}}  # noqa: RUF012

    def release(self, folder):
        (folder / "images/mscoco/images/train2014").mkdir(parents=True)
        return super().release(folder)

    def converter(self, folder):
        return RefZOM(folder)


def test_phrases_about_an_object_are_one_group(tmp_path):
    TestRRefCOCO().release(tmp_path)
    splits = RRefCOCO(tmp_path, "refcocog").splits()
    groups = {
        split: {phrase.group for one in part.records() for phrase in one.phrases} for split, part in splits.items()
    }
    assert groups == {"val": {"11"}, "testA": {"12"}}


def test_sentences_that_were_not_cleaned_are_taken_as_written(tmp_path):
    test = TestRefZOM()
    test.references = [reference([1], "test", "A Cow") | {"sentences": [{"raw": "A Cow", "sent_id": 0}]}]
    test.release(tmp_path)
    [record] = RefZOM(tmp_path).splits()["test"].records()
    assert [phrase.text for phrase in record.phrases] == ["A Cow"]


def test_images_of_both_years_may_be_in_one_folder_and_other_names_of_files_are_named(tmp_path):
    test = TestRefZOM()
    test.part = "trainval2014"
    test.release(tmp_path)
    (tmp_path / "images/mscoco/images/train2014").rmdir()
    assert next(RefZOM(tmp_path).splits()["test"].records()).key == "COCO_val2014_7"
    with pytest.raises(LayoutError, match=r"no .*refs\(new\)\.p; there are refs\(final\)\.p"):
        RefZOM(tmp_path, split_by="new").splits()
