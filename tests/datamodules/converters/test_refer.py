import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.grefcoco import GRefCOCO
from lasagna.datamodules.converters.refer import RefCLEF, RefCOCO, RefCOCOg, Refer
from lasagna.errors import RecordError
from tests.helpers.coco_files import SQUARE, polygon
from tests.helpers.converter_contract import ConverterContract, Expected, read_records, union
from tests.helpers.refer_files import BAND, reference, write_things

SHARED = Path(__file__).parents[4] / "shared" / "data"


class TestRefCOCO(ConverterContract):
    dataset, split_by, images = "refcoco", "unc", "images/mscoco/images/train2014"
    name = "COCO_train2014_000000000007.jpg"

    def release(self, folder):
        images = folder / self.images
        write_things(folder / self.dataset, {7: self.name, 8: "COCO_train2014_000000000008.jpg"}, images)
        references = [
            reference(1, "train", "the man", "left man"),
            reference(2, "train", "both of them"),
            reference(3, "train", "nobody"),
            reference(2, "testAB", "somebody"),
        ]
        with (folder / self.dataset / f"refs({self.split_by}).p").open("wb") as file:
            pickle.dump(references, file, protocol=2)
        key, image = Path(self.name).with_suffix("").as_posix().replace("/", "-"), images / self.name
        phrases = {"the man": polygon(), "left man": polygon(), "both of them": SQUARE | BAND}
        test = {key: Expected(image, absent=set(), phrases={"somebody": SQUARE | BAND})}
        return {"train": {key: Expected(image, absent=set(), phrases=phrases)}, "testA": test, "testB": test}

    def converter(self, folder):
        return RefCOCO(folder)


class TestRefCLEF(TestRefCOCO):
    dataset, split_by, images = "refclef", "berkeley", "images/saiapr_tc-12"
    name = "02/images/2112.jpg"

    def converter(self, folder):
        return RefCLEF(folder, split_by="berkeley")


def test_phrases_without_a_mask_are_counted(tmp_path):
    TestRefCOCO().release(tmp_path / "refer")
    tally = convert(RefCOCO(tmp_path / "refer"), tmp_path / "shards")["train"].tally
    assert tally.left_out == {"empty segmentation": 1, "phrase without a mask": 1}


def test_a_split_of_somebody_else_is_named(tmp_path):
    TestRefCOCO().release(tmp_path)
    with pytest.raises(LayoutError, match=r"refs\(google\)\.p; there are refs\(unc\)\.p"):
        RefCOCO(tmp_path, split_by="google").splits()
    with pytest.raises(LayoutError, match=r"holds instances\.json; expected"):
        RefCOCOg(tmp_path).splits()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")
def test_samples(tmp_path):
    samples, images = SHARED / "samples" / "refer_format", SHARED / "coco" / "val2017"
    convert(Refer(samples / "refcocos", images=images), tmp_path / "ref")
    convert(GRefCOCO(samples / "grefcocos", images=images), tmp_path / "gref")
    one, general = read_records(tmp_path / "ref" / "val"), read_records(tmp_path / "gref" / "val")
    assert (len(one), len(general)) == (7, 8)
    for key, record in one.items():
        (phrase,) = record.phrases
        pixels = union(phrase.masks, record.size)
        assert pixels.any()
        assert np.array_equal(union(general[key].phrases[0].masks, record.size), pixels)
    assert [record.phrases[0].text for record in general.values() if not record.phrases[0].masks] == ["person on bed"]


def test_an_image_of_another_size_than_is_said_is_named(tmp_path):
    TestRefCOCO().release(tmp_path)
    path = tmp_path / TestRefCOCO.images / TestRefCOCO.name
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    with pytest.raises(RecordError, match=r"000007\.jpg: .* \(40, 60\), but its annotations were made for \(20, 30\)"):
        convert(RefCOCO(tmp_path), tmp_path / "shards", processes=0)
