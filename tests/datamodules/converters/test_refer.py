import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.common.pickle import read_plain_pickle
from lasagna.datamodules.converters.grefcoco import GRefCOCO
from lasagna.datamodules.converters.refer import RefCLEF, RefCOCO, RefCOCOg, Refer, split_names
from lasagna.errors import RecordError
from tests.helpers.converter_contract import ConverterContract, Expected, read_records, union

SHARED = Path(__file__).parents[4] / "shared" / "data"
SIZE = (20, 30)
TRIANGLE = [2.0, 2.0, 25.0, 3.0, 10.0, 17.5]
SQUARE = np.zeros(SIZE, bool)
SQUARE[4:12, 5:20] = True
BAND = np.zeros(SIZE, bool)
BAND[10:15] = True


def rle(pixels):
    code = coco.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": list(SIZE), "counts": code["counts"].decode()}


def polygon():
    return coco.decode(coco.merge(coco.frPyObjects([TRIANGLE], *SIZE))).astype(bool)


ANNOTATIONS = {
    1: [TRIANGLE],
    2: [rle(SQUARE), rle(BAND)],
    3: [],
    4: {"size": list(SIZE), "counts": [200, 40, 360]},
}


def write_things(folder, names, images):
    folder.mkdir(parents=True)
    for name in names.values():
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), 70, np.uint8)).save(images / name)
    content = {
        "images": [{"id": number, "file_name": name, "height": 20, "width": 30} for number, name in names.items()],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": number, "image_id": 7, "category_id": 1, "segmentation": coding, "iscrowd": int(number == 4)}
            for number, coding in ANNOTATIONS.items()
        ],
    }
    (folder / "instances.json").write_text(json.dumps(content))


def reference(target, split, *sentences, image=7):
    said = [{"raw": text.upper(), "sent": text, "tokens": text.split(), "sent_id": 1} for text in sentences]
    return {
        "ref_id": 0,
        "ann_id": target,
        "image_id": image,
        "split": split,
        "sentences": said,
        "file_name": "wrong_16.jpg",
    }


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


def test_phrases_that_fit_crowds_alone_are_counted_and_do_not_fit_nothing(tmp_path):
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


def test_phrases_without_a_mask_are_counted(tmp_path):
    TestRefCOCO().release(tmp_path / "refer")
    tally = convert(RefCOCO(tmp_path / "refer"), tmp_path / "shards")["train"].tally
    assert tally.left_out == {"empty segmentation": 1, "phrase without a mask": 1}


def test_phrases_of_several_things_are_left_out_where_one_of_them_has_no_mask(tmp_path):
    TestGRefCOCO().release(tmp_path)
    several = [reference([1, 2], "train", "both"), reference([1, 3], "train", "one of two")]
    (tmp_path / "grefcoco" / "grefs(unc).json").write_text(json.dumps(several))
    found = GRefCOCO(tmp_path).splits()["train"].reading(0)
    assert [phrase.text for phrase in found.record.phrases] == ["both"]
    reasons = [part.reason for part in found.left_out]
    assert reasons == ["empty segmentation", "phrase of several things, one of which has no mask"]


def test_a_split_of_somebody_else_is_named(tmp_path):
    TestRefCOCO().release(tmp_path)
    with pytest.raises(LayoutError, match=r"refs\(google\)\.p; there are refs\(unc\)\.p"):
        RefCOCO(tmp_path, split_by="google").splits()
    with pytest.raises(LayoutError, match=r"holds instances\.json; expected"):
        RefCOCOg(tmp_path).splits()


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
    with pytest.raises(LayoutError, match=rf"1 annotations have an id that another one has \({first['id']}\)"):
        GRefCOCO(tmp_path).splits()


@pytest.mark.parametrize(
    ("split", "names"), [("train", ["train"]), ("test", ["test"]), ("testA", ["testA"]), ("testAB", ["testA", "testB"])]
)
def test_splits_of_a_reference(split, names):
    assert split_names(split) == names


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(plain, st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_plain_data_is_read_as_python_does(tmp_path_factory, value, protocol):
    path = tmp_path_factory.getbasetemp() / "plain.p"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert read_plain_pickle(path) == value


class Malicious:
    def __reduce__(self):
        return os.system, ("echo harm",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_code_is_refused_and_not_run(tmp_path, protocol, capfd):
    (tmp_path / "refs.p").write_bytes(pickle.dumps([Malicious()], protocol=protocol))
    with pytest.raises(LayoutError, match="no plain data, and is not carried out"):
        read_plain_pickle(tmp_path / "refs.p")
    assert "harm" not in capfd.readouterr().out


def test_a_cut_file_is_named(tmp_path):
    (tmp_path / "refs.p").write_bytes(pickle.dumps([{"a": 1}], protocol=2)[:-3])
    with pytest.raises(LayoutError, match=r"refs\.p: the annotation file cannot be read"):
        read_plain_pickle(tmp_path / "refs.p")
    with pytest.raises(LayoutError, match="missing"):
        read_plain_pickle(tmp_path / "none.p")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")
def test_samples(tmp_path):
    samples, images = SHARED / "samples" / "refer_format", SHARED / "coco" / "val2017"
    convert(Refer(samples / "refcocos", images=images), tmp_path / "ref")
    convert(GRefCOCO(samples / "grefcocos", images=images), tmp_path / "gref")
    one, general = read_records(tmp_path / "ref" / "val"), read_records(tmp_path / "gref" / "val")
    assert (len(one), len(general)) == (7, 8)
    areas = {image["id"]: 0 for image in json.loads((samples / "refcocos" / "instances.json").read_text())["images"]}
    assert len(areas) >= 7
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
    with pytest.raises(RecordError, match=r"000007\.jpg: .* \(40, 60\), and was annotated as one of \(20, 30\)"):
        convert(RefCOCO(tmp_path), tmp_path / "shards", processes=0)
