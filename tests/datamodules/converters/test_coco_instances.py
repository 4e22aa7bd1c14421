import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.coco_instances import CocoInstances
from lasagna.datamodules.converters.pascal_part import PascalPart
from lasagna.datamodules.inspection.survey import survey_record
from lasagna.datamodules.strategies import NegativeInjection
from lasagna.errors import LasagnaError, RecordError
from lasagna.tasks import Semantic
from tests.helpers.coco_files import SIZE, SQUARE, TRIANGLE, category, crowd, draw, polygon, rle, sized, write
from tests.helpers.converter_contract import ConverterContract, Expected, read_records

SHARED = Path(__file__).parents[4] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


class TestCocoInstances(ConverterContract):
    def release(self, folder):
        expected = {}
        for split in ("train", "val"):
            image, empty = (draw(folder / f"{split}2017" / f"{number:012d}.jpg") for number in (9, 30))
            images = [{"id": int(path.stem), "file_name": path.name} for path in (image, empty)]
            categories = [category(1, "person"), category(90, "toothbrush"), category(88, "teddy bear")]
            parts = [(9, 1, [TRIANGLE]), (9, 1, crowd()), (9, 90, rle(SQUARE)), (9, 88, []), (9, 88, [[1.0, 1, 2, 2]])]
            write(folder / "annotations" / f"instances_{split}2017.json", images, categories, parts)
            group = coco.decode(coco.frPyObjects(crowd(), *SIZE)).astype(bool)
            masks = {"person": polygon() | group, "toothbrush": SQUARE}
            objects = {"person": ([polygon()], [group]), "toothbrush": ([SQUARE], [])}
            one = Expected(image, masks, unclear={"teddy bear"}, objects=objects)
            expected[split] = {image.stem: one, empty.stem: Expected(empty)}
        return expected

    def converter(self, folder):
        return CocoInstances(folder)


def test_one_split_of_two_needs_nothing_of_the_other(tmp_path):
    TestCocoInstances().release(tmp_path / "coco")
    rmtree(tmp_path / "coco" / "train2017")
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").write_text("{")
    with pytest.raises(LayoutError, match=r"(?s)no .*train2017.*Or convert some of the splits \(train, val\) by `--sp"):
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


def test_photographs_of_another_size_than_their_annotations_say_are_named_or_counted(tmp_path):
    draw(tmp_path / "one.jpg")
    draw(tmp_path / "two.jpg")
    images = [sized(5, "one.jpg", (10, 15)), sized(6, "two.jpg", SIZE)]
    write(tmp_path / "mine.json", images, [category(3, "mug")], [(5, 3, [TRIANGLE]), (6, 3, [TRIANGLE])])
    mine = CocoInstances(tmp_path, tmp_path / "mine.json")
    with pytest.raises(RecordError, match=r"one\.jpg: .* width \(20, 30\), but .* \(10, 15\); replace it by the image"):
        convert(mine, tmp_path / "stopped", processes=0)
    written = convert(mine, tmp_path / "shards", broken="skip", processes=0)["train"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 1})


@pytest.mark.parametrize(
    ("said", "exif", "stored"),
    [
        (SIZE, "ask", "upright"),
        (SIZE[::-1], "ask", None),
        ((0, 0), "ask", None),
        (SIZE[::-1], "seen", "upright"),
        (SIZE[::-1], "stored", "as it is"),
    ],
)
def test_photographs_on_their_side_are_stored_as_they_were_annotated(tmp_path, said, exif, stored):
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(np.full((*SIZE[::-1], 3), 70, np.uint8)).save(tmp_path / "one.jpg", exif=tag)
    write(tmp_path / "mine.json", [sized(5, "one.jpg", said)], [category(3, "mug")], [(5, 3, [TRIANGLE])])
    split = CocoInstances(tmp_path, tmp_path / "mine.json", exif=exif).splits()["train"]
    if stored is None:
        with pytest.raises(RecordError, match=r"one\.jpg: its EXIF tag turns .* `--exif seen` .* `--exif stored`"):
            list(split.records())
        return
    (record,) = split.records()
    assert (record.image_bytes == (tmp_path / "one.jpg").read_bytes()) == (stored == "as it is")
    assert record.size == record.image().shape[:2] == (SIZE if stored == "upright" else SIZE[::-1])
    assert ("turned images" in {finding.kind for finding in survey_record(record)[1]}) == (stored == "as it is")


def test_an_export_in_folders_of_splits_with_a_root_category(tmp_path):
    categories = [category(0, "things", supercategory="none"), category(1, "mug", supercategory="things")]
    for part in ("train", "valid"):
        draw(tmp_path / part / "one.jpg")
        images = [{"id": 5, "file_name": "one.jpg"}]
        write(tmp_path / part / "_annotations.coco.json", images, categories, [(5, 1, [TRIANGLE])])
    splits = CocoInstances(tmp_path).splits()
    assert {name: split.manifest.categories for name, split in splits.items()} == {"train": ("mug",), "valid": ("mug",)}
    assert "things only groups" in splits["train"].notes[0]
    file = tmp_path / "valid" / "_annotations.coco.json"
    assert list(CocoInstances(tmp_path / "valid", file).splits()) == ["valid"]
    assert list(CocoInstances(tmp_path / "valid", file, split="test").splits()) == ["test"]


@pytest.mark.parametrize(
    "name",
    [
        "images\\my cup.jpg",
        "my%20cup.jpg",
        "/data/upload/1/my cup.jpg",
        "C:\\a\\my cup.jpg",
        "https://host/1/my%20cup.jpg?token=a",
        "/data/local-files/?d=images/my%20cup.jpg",
    ],
)
def test_names_of_windows_addresses_and_servers_are_found_in_the_folder(tmp_path, name):
    path = draw(tmp_path / "images" / "my cup.jpg")
    write(tmp_path / "mine.json", [{"id": 5, "file_name": name}], [category(1, "mug")], [])
    for folder in (tmp_path, tmp_path / "images"):
        assert [item.image for item in CocoInstances(folder, tmp_path / "mine.json").splits()["train"].items] == [path]
    write(tmp_path / "mine.json", [{"id": 5, "file_name": "../mine.json/x.jpg"}], [category(1, "mug")], [])
    with pytest.raises(LayoutError, match=r"leads out of the folder .* or put x\.jpg into .*, or give `--images`"):
        CocoInstances(folder, tmp_path / "mine.json").splits()["train"]


@pytest.mark.parametrize(
    ("name", "coding", "message"),
    [
        ("mug", [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]], r"points are fractions .* the width 30 and y by the height 20"),
        ("mug", [[0.1, 0.1, 1.002, 0.1, 0.5, 0.5]], r"points are fractions .* the width 30"),
        ("mug", [[5, 5], [25, 5], [25, 15]], "points are pairs .* write each polygon as one list"),
        ("mug", [[[5, 5], [25, 5], [25, 15]]], "points are pairs .* write each polygon as one list"),
        ("mug", [5, 5, 25, 5, 25, 15], "it is a single polygon .*; put it into a list"),
        ("mug", [], "its 1 annotations are boxes without a mask; draw masks"),
        ("mug, blue", [TRIANGLE], "the category 'mug, blue' cannot be asked for .*; rename it"),
    ],
)
def test_masks_and_names_of_no_use_are_named_with_the_way_out(tmp_path, name, coding, message):
    draw(tmp_path / "one.jpg")
    one = {"image_id": 5, "category_id": 1, "segmentation": coding, "bbox": [1, 1, 5, 5]}
    images = [{"id": 5, "file_name": "one.jpg"}]
    content = {"images": images, "categories": [category(1, name)], "annotations": [one]}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    with pytest.raises(LasagnaError, match=message):
        convert(CocoInstances(tmp_path, tmp_path / "mine.json"), tmp_path / "shards", processes=0)


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


def test_broken_images_are_reported_in_the_same_words_each_time(tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"no image")
    draw(tmp_path / "two.jpg")
    images = [{"id": 5, "file_name": "one.jpg"}, {"id": 6, "file_name": "two.jpg"}]
    write(tmp_path / "mine.json", images, [category(1, "mug")], [(6, 1, [TRIANGLE])])
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
