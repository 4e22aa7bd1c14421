"""Data sets in COCO's form, with a mask for each annotation."""

import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.coco_instances import CocoInstances
from lasagna.datamodules.converters.lvis import LVIS, spoken_lvis_names
from lasagna.datamodules.converters.paco import PACO, spoken_part_names
from lasagna.datamodules.converters.pascal_part import PascalPart
from lasagna.datamodules.strategies import NegativeInjection
from lasagna.errors import RecordError
from lasagna.tasks import Semantic
from tests.helpers.converter_contract import ConverterContract, Expected, read_records

SHARED = Path(__file__).parents[4] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")
SIZE = (20, 30)
TRIANGLE = [2.0, 2.0, 25.0, 3.0, 10.0, 17.5]
SQUARE = np.zeros(SIZE, bool)
SQUARE[4:12, 5:20] = True


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), 70, np.uint8)).save(path)
    return path


def rle(pixels):
    code = coco.encode(np.asfortranarray(pixels, np.uint8))
    return {"size": list(SIZE), "counts": code["counts"].decode()}


def polygon():
    return coco.decode(coco.merge(coco.frPyObjects([TRIANGLE], *SIZE))).astype(bool)


def crowd():
    return {"size": list(SIZE), "counts": [100, 50, 450]}


def write(path, images, categories, annotations):
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [
        {"id": rank, "image_id": image, "category_id": category, "segmentation": coding, "iscrowd": 0}
        for rank, (image, category, coding) in enumerate(annotations)
    ]
    content = {"images": images, "categories": categories, "annotations": parts}
    path.write_text(json.dumps(content))


def category(number, name, **more):
    return {"id": number, "name": name, **more}


class TestCocoInstances(ConverterContract):
    def release(self, folder):
        expected = {}
        for split in ("train", "val"):
            image, empty = (draw(folder / f"{split}2017" / f"{number:012d}.jpg") for number in (9, 30))
            images = [{"id": int(path.stem), "file_name": path.name} for path in (image, empty)]
            categories = [category(1, "person"), category(90, "toothbrush"), category(88, "teddy bear")]
            parts = [(9, 1, [TRIANGLE]), (9, 1, crowd()), (9, 90, rle(SQUARE)), (9, 88, []), (9, 88, [[1.0, 1, 2, 2]])]
            write(folder / "annotations" / f"instances_{split}2017.json", images, categories, parts)
            people = polygon() | coco.decode(coco.frPyObjects(crowd(), *SIZE)).astype(bool)
            masks = {"person": people, "toothbrush": SQUARE}
            expected[split] = {image.stem: Expected(image, masks, unclear={"teddy bear"}), empty.stem: Expected(empty)}
        return expected

    def converter(self, folder):
        return CocoInstances(folder)


def test_one_split_of_two_needs_nothing_of_the_other(tmp_path):
    TestCocoInstances().release(tmp_path / "coco")
    rmtree(tmp_path / "coco" / "train2017")
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").write_text("{")
    with pytest.raises(LayoutError, match=r"(?s)no .*train2017.*Or take a part of the splits \(train, val\) by `--sp"):
        convert(CocoInstances(tmp_path / "coco"), tmp_path / "shards", processes=0)
    assert set(convert(CocoInstances(tmp_path / "coco"), tmp_path / "shards", ["val"], processes=0)) == {"val"}


def test_unusable_annotations_are_counted(tmp_path):
    TestCocoInstances().release(tmp_path / "coco")
    tally = convert(CocoInstances(tmp_path / "coco"), tmp_path / "shards")["val"].tally
    assert tally.left_out == {"empty segmentation": 1, "polygon of fewer than 3 points": 1}
    assert tally.taken == 2


@pytest.mark.parametrize("coding", [[[1.0, 1, 2, 2]], [], [[90.0, 90, 99, 90, 99, 99]]])
@pytest.mark.parametrize("converter", [CocoInstances, PascalPart])
def test_what_is_annotated_without_a_usable_mask_is_not_taught_as_absent(tmp_path, coding, converter):
    draw(tmp_path / "train2017" / "one.jpg")
    draw(tmp_path / "VOCdevkit/VOC2010/JPEGImages/one.jpg")
    categories = [category(1, "person"), category(2, "dog"), category(3, "mug")]
    for path in (tmp_path / "annotations" / "instances_train2017.json", tmp_path / "train.json"):
        write(path, [{"id": 5, "file_name": "one.jpg"}], categories, [(5, 1, coding), (5, 2, [TRIANGLE])])
    convert(converter(tmp_path), tmp_path / "shards", processes=0)
    (record,) = read_records(tmp_path / "shards" / "train").values()
    (dialogue,) = Semantic().dialogues(record, np.random.default_rng(0))
    taught = NegativeInjection()(dialogue, np.random.default_rng(0))
    assert [(entry.name, entry.present) for entry in taught.entries] == [("dog", True), ("mug", False)]


def test_an_export_of_ones_own(tmp_path):
    draw(tmp_path / "pictures" / "a" / "one.png")
    write(tmp_path / "mine.json", [{"id": 5, "file_name": "a/one.png"}], [category(3, "mug")], [(5, 3, [TRIANGLE])])
    mine = CocoInstances(tmp_path, tmp_path / "mine.json", tmp_path / "pictures", "unknown", "mugs")
    (record,) = mine.splits()["train"].records()
    assert np.array_equal(record.category_masks()["mug"].decode(), polygon())
    assert (record.manifest.name, record.manifest.unannotated) == ("mugs", "unknown")


def test_an_export_in_folders_whose_images_share_names_and_whose_annotations_have_no_id(tmp_path):
    names = ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
    for name in names:
        draw(tmp_path / name)
    images = [{"id": rank, "file_name": name} for rank, name in enumerate(names)]
    annotations = [{"image_id": 0, "category_id": 3, "segmentation": [TRIANGLE]}, {"image_id": 1, "category_id": 3}]
    content = {"images": images, "categories": [category(3, "mug")], "annotations": annotations}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    tally = convert(CocoInstances(tmp_path, tmp_path / "mine.json"), tmp_path / "shards", processes=0)["train"].tally
    assert list(read_records(tmp_path / "shards" / "train")) == ["a/1", "b/1", "b/2"]
    assert tally.examples["empty segmentation"] == ["mine.json: annotation 0 of b/1"]
    draw(tmp_path / "a" / "1.png")
    (tmp_path / "mine.json").write_text(json.dumps(content | {"images": [*images, {"id": 9, "file_name": "a/1.png"}]}))
    keys = [item.key for item in CocoInstances(tmp_path, tmp_path / "mine.json").splits()["train"].items]
    assert keys == ["a/1.jpg", "b/1.jpg", "b/2.jpg", "a/1.png"]


def sized(number, name, size):
    return {"id": number, "file_name": name, "height": size[0], "width": size[1]}


def test_photographs_of_another_size_than_their_annotations_say_are_named_or_counted(tmp_path):
    draw(tmp_path / "one.jpg")
    draw(tmp_path / "two.jpg")
    images = [sized(5, "one.jpg", (10, 15)), sized(6, "two.jpg", SIZE)]
    write(tmp_path / "mine.json", images, [category(3, "mug")], [(5, 3, [TRIANGLE]), (6, 3, [TRIANGLE])])
    mine = CocoInstances(tmp_path, tmp_path / "mine.json")
    with pytest.raises(RecordError, match=r"one\.jpg: .* width \(20, 30\), and .* \(10, 15\); put the image that was"):
        convert(mine, tmp_path / "stopped", processes=0)
    written = convert(mine, tmp_path / "shards", broken="skip", processes=0)["train"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 1})


@pytest.mark.parametrize(("said", "stored"), [(SIZE, "upright"), (SIZE[::-1], "as it is"), ((0, 0), "as it is")])
def test_photographs_on_their_side_are_stored_as_they_were_annotated(tmp_path, said, stored):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.full((*SIZE[::-1], 3), 70, np.uint8)).save(tmp_path / "one.jpg", exif=exif)
    write(tmp_path / "mine.json", [sized(5, "one.jpg", said)], [category(3, "mug")], [(5, 3, [TRIANGLE])])
    (record,) = CocoInstances(tmp_path, tmp_path / "mine.json").splits()["train"].records()
    assert (record.image_bytes == (tmp_path / "one.jpg").read_bytes()) == (stored == "as it is")
    assert record.size == record.image().shape[:2] == (SIZE if stored == "upright" else SIZE[::-1])


def test_two_images_of_one_file_are_named_with_their_ids(tmp_path):
    draw(tmp_path / "000000000025.jpg")
    images = [{"id": number, "file_name": "000000000025.jpg"} for number in (25, 26)]
    write(tmp_path / "mine.json", images, [category(1, "mug")], [])
    with pytest.raises(LayoutError, match=r"the images 25 and 26 are both 000000000025\.jpg; put the annotations"):
        convert(CocoInstances(tmp_path, tmp_path / "mine.json"), tmp_path / "shards", processes=0)


def test_a_mask_that_is_none_is_named_with_its_file(tmp_path):
    draw(tmp_path / "one.jpg")
    write(tmp_path / "mine.json", [{"id": 5, "file_name": "one.jpg"}], [category(1, "mug")], [(5, 1, [["a"] * 6])])
    with pytest.raises(RecordError, match=r"mine\.json: annotation 0 of one: mask: expected COCO RLE"):
        convert(CocoInstances(tmp_path, tmp_path / "mine.json"), tmp_path / "shards", processes=0)


def test_broken_images_are_told_in_the_same_words_each_time(tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"no image")
    draw(tmp_path / "two.jpg")
    images = [{"id": 5, "file_name": "one.jpg"}, {"id": 6, "file_name": "two.jpg"}]
    write(tmp_path / "mine.json", images, [category(1, "mug")], [])
    convert(CocoInstances(tmp_path, tmp_path / "mine.json"), tmp_path / "shards", broken="skip", processes=0)
    text = (tmp_path / "shards" / "train" / "manifest.json").read_text()
    assert "one.jpg: the image cannot be decoded (not an image that Pillow reads)" in text
    assert "BytesIO" not in text


def test_names_of_an_export_are_as_people_say_them_and_those_that_differ_by_case_are_one(tmp_path):
    draw(tmp_path / "one.jpg")
    categories = [category(1, "traffic_light"), category(2, "Traffic Light"), category(3, "mug"), category(4, "Mug ")]
    parts = [(5, 1, [TRIANGLE]), (5, 2, rle(SQUARE)), (5, 4, rle(SQUARE))]
    write(tmp_path / "mine.json", [{"id": 5, "file_name": "one.jpg"}], categories, parts)
    convert(CocoInstances(tmp_path, tmp_path / "mine.json"), tmp_path / "shards", processes=0)
    (record,) = read_records(tmp_path / "shards" / "train").values()
    assert record.manifest.categories == ("traffic light", "mug")
    assert record.manifest.aliases == {"traffic light": ("traffic_light", "Traffic Light"), "mug": ("Mug ",)}
    masks = record.category_masks()
    assert np.array_equal(masks["traffic light"].decode(), polygon() | SQUARE)
    assert np.array_equal(masks["mug"].decode(), SQUARE)
    write(tmp_path / "mine.json", [{"id": 5, "file_name": "one.jpg"}], [category(1, " ")], [])
    with pytest.raises(LayoutError, match="the categories 1 have no name"):
        CocoInstances(tmp_path, tmp_path / "mine.json").splits()["train"]


class TestLVIS(ConverterContract):
    def release(self, folder):
        image = draw(folder / "train2017" / "000000000009.jpg")
        categories = [
            category(1, "fish", synonyms=["fish"]),
            category(2, "fish_(food)", synonyms=["fish_(food)"]),
            category(7, "mouse_(computer_equipment)", synonyms=["mouse_(computer_equipment)", "computer_mouse"]),
            category(9, "trash_can", synonyms=["trash_can", "garbage_can"]),
        ]
        entry = {"id": 9, "coco_url": "http://images.cocodataset.org/train2017/000000000009.jpg"}
        entry |= {"neg_category_ids": [2, 9], "not_exhaustive_category_ids": [1]}
        write(folder / "lvis_v1_val.json", [entry], categories, [(9, 1, [TRIANGLE]), (9, 7, rle(SQUARE))])
        masks = {"fish": polygon(), "mouse": SQUARE}
        return {"val": {"000000000009": Expected(image, masks, absent={"fish (food)", "trash can"}, unclear={"fish"})}}

    def converter(self, folder):
        return LVIS(folder)


def test_lvis_synonyms_are_aliases(tmp_path):
    TestLVIS().release(tmp_path)
    manifest = LVIS(tmp_path).splits()["val"].manifest
    assert manifest.aliases["trash can"] == ("garbage can",)
    assert "computer mouse" in manifest.aliases["mouse"]
    assert "fish" not in manifest.aliases
    (tmp_path / "lvis_v0.5_val.json").write_text("{}")
    with pytest.raises(LayoutError, match="several versions of LVIS"):
        LVIS(tmp_path).splits()


class TestPACO(ConverterContract):
    def release(self, folder):
        image = draw(folder / "val2017" / "000000000139.jpg")
        categories = [
            category(207, "car_(automobile)"),
            category(2000, "car_(automobile):antenna"),
            category(2001, "car_(automobile):wheel"),
            category(2300, "vacuum_cleaner:colied_tube"),
            category(1196, "vacuum_cleaner"),
        ]
        entry = {"id": 139, "file_name": "val2017/000000000139.jpg", "neg_category_ids": [1196, 2300, 2001]}
        entry |= {"not_exhaustive_category_ids": [207]}
        parts = [(139, 207, rle(SQUARE)), (139, 2000, [TRIANGLE])]
        write(folder / "annotations" / "paco_lvis_v1_test.json", [entry], categories, parts)
        absent = {"vacuum cleaner", "vacuum cleaner coiled tube"}
        masks = {"car": SQUARE, "car antenna": polygon()}
        # of the cars some have no annotation, and so of their parts
        unclear = {"car", "car antenna", "car wheel"}
        return {"test": {"000000000139": Expected(image, masks, absent=absent, unclear=unclear)}}

    def converter(self, folder):
        return PACO(folder)


def test_negatives_of_no_category_are_told(tmp_path, capsys):
    TestPACO().release(tmp_path)
    path = tmp_path / "annotations" / "paco_lvis_v1_test.json"
    content = json.loads(path.read_text())
    content["images"][0]["neg_category_ids"].append(5555)
    path.write_text(json.dumps(content))
    convert(PACO(tmp_path), tmp_path / "shards", processes=0)
    assert "1 ids of `neg_category_ids` are no category's and say nothing (5555)" in capsys.readouterr().out


class TestPascalPart(ConverterContract):
    def release(self, folder):
        image = draw(folder / "VOCdevkit/VOC2010/JPEGImages/2008_000008.jpg")
        categories = [category(8, "bird:beak"), category(40, "car:license plate")]
        write(folder / "train.json", [{"id": 1, "file_name": image.name}], categories, [(1, 8, rle(SQUARE))])
        return {"train": {"2008_000008": Expected(image, {"bird beak": SQUARE})}}

    def converter(self, folder):
        return PascalPart(folder)


def names_of(name, field="names"):
    content = json.loads((SHARED / "categories" / f"{name}.json").read_text())
    return dict(zip(content["ids"], content[field], strict=True))


@pytest.mark.shared
@shared
def test_the_names_of_whole_releases_are_unique():
    lvis = spoken_lvis_names(names_of("lvis_v1_1203"))
    assert len(set(lvis.values())) == 1203
    assert {"mouse", "fish", "fish (food)", "computer monitor", "pan (for cooking)"} <= set(lvis.values())
    paco = spoken_part_names(names_of("paco_objects_75") | names_of("paco_object_parts_456"))
    assert len(set(paco.values())) == 531
    assert len(set(spoken_part_names(names_of("pascal_part_vlpart_93")).values())) == 93


@pytest.mark.shared
@shared
def test_real_photographs_of_coco(tmp_path):
    written = convert(CocoInstances(SHARED / "coco"), tmp_path)
    assert {name: shards.records for name, shards in written.items()} == {"train": 208, "val": 21}
    content = json.loads((SHARED / "coco/annotations/instances_val2017.json").read_text())
    records = read_records(tmp_path / "val")
    for image in content["images"]:
        record = records[f"{image['id']:012d}"]
        size = (image["height"], image["width"])
        wanted = {}
        for one in (one for one in content["annotations"] if one["image_id"] == image["id"]):
            coding = one["segmentation"]
            runs = coco.frPyObjects(coding, *size)
            pixels = coco.decode(coco.merge(runs) if isinstance(runs, list) else runs).astype(bool)
            name = next(part["name"] for part in content["categories"] if part["id"] == one["category_id"])
            wanted[name] = wanted.get(name, np.zeros(size, bool)) | pixels
        found = {name: mask.decode() for name, mask in record.category_masks().items()}
        assert set(found) == {name for name, pixels in wanted.items() if pixels.any()}
        assert all(np.array_equal(found[name], wanted[name]) for name in found)


@pytest.mark.shared
@shared
def test_lvis_sample(tmp_path):
    convert(LVIS(SHARED / "samples" / "lvis"), tmp_path)
    records = read_records(tmp_path / "val")
    content = json.loads((SHARED / "samples/lvis/lvis_v0.5_val.json").read_text())
    assert len(records) == 4
    for image in content["images"]:
        record = records[f"{image['id']:012d}"]
        assert len(record.absent) == len(image["neg_category_ids"])
        ids = {one["category_id"] for one in content["annotations"] if one["image_id"] == image["id"]}
        assert len(record.category_masks()) == len(ids)
