import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.yolo import Yolo
from lasagna.datamodules.shards.tally import BEYOND
from lasagna.errors import RecordError
from tests.helpers.converter_contract import Expected, QuickConverterContract
from tests.helpers.exports import SIZE, box_points, photograph, write_yolo, yolo_line

SQUARE = box_points(5, 4, 20, 12)


def drawn(*points):
    runs = coco.frPyObjects([[side for point in points for side in point]], *SIZE)
    return coco.decode(coco.merge(runs)).astype(bool)


class TestYoloContract(QuickConverterContract):
    def release(self, folder):
        write_yolo(folder)
        one, two = (folder / "train" / "images" / f"{name}.jpg" for name in ("one.rf.1", "two.rf.2"))
        lights, cup = (
            [drawn(*box_points(2, 3, 9, 8)), drawn(*box_points(12, 3, 15, 8))],
            drawn((20, 4), (29, 4), (20, 14)),
        )
        masks = {"traffic light": lights[0] | lights[1], "cup": cup}
        first = Expected(one, masks, objects={"traffic light": (lights, []), "cup": ([cup], [])})
        fork, three = drawn(*box_points(5, 5, 40, 15)), folder / "valid" / "images" / "three.rf.3.jpg"
        third = Expected(three, {"fork": fork}, objects={"fork": ([fork], [])})
        return {"train": {"one.rf.1": first, "two.rf.2": Expected(two)}, "val": {"three.rf.3": third}}

    def converter(self, folder):
        return Yolo(folder)


def write(folder, text, data="names: [cup, fork]\ntrain: images\n"):
    photograph(folder / "images" / "a.jpg")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text(text)
    (folder / "data.yaml").write_text(data)
    return folder


def reading(folder, **settings):
    return Yolo(folder, **settings).splits()["train"].reading(0)


@pytest.mark.parametrize(
    ("data", "split"),
    [
        ("names: {0: cup, 1: fork}\npath: ../datasets/mine\ntrain: images\nval:\n", "train"),
        ("names: {'0': cup, '1': fork}\nval: /content/mine/images\n", "val"),
        ("names: [cup, fork]\ntest: [test.txt]\n", "test"),
        (None, "train"),
    ],
)
def test_classes_and_places_in_all_the_forms_they_come_in(tmp_path, data, split):
    write(tmp_path, yolo_line(1, *SQUARE), data or "")
    (tmp_path / "test.txt").write_text("data/images/a.jpg\n")
    if data is None:
        (tmp_path / "data.yaml").unlink()
        (tmp_path / "classes.txt").write_text("cup\nfork\n")
    parts = Yolo(tmp_path).splits()
    assert list(parts) == [split]
    (record,) = parts[split].records()
    assert record.manifest.categories == ("cup", "fork")
    assert np.array_equal(record.category_masks()["fork"].decode(), drawn(*SQUARE))


def test_what_is_left_out_of_label_files_is_counted_and_their_classes_are_unclear(tmp_path):
    line, beyond = yolo_line(0, *SQUARE), yolo_line(0, *box_points(20, 5, 40, 15))
    write(tmp_path, line + "\n" + line + beyond + "1.0 0.5 0.5 0.2 0.2\n" + "1 0.5 0.5\n")
    for part in ("images", "labels"):
        (tmp_path / part / "b").mkdir()
    photograph(tmp_path / "images" / "b" / "a.jpg")
    (tmp_path / "labels" / "gone.txt").touch()
    split = Yolo(tmp_path, boxes="unclear").splits()["train"]
    assert [item.key for item in split.items] == ["a", "b/a"]
    assert split.notes == [
        "1 images have no label file, so nothing is on them (a.jpg)",
        "1 label files have no image (gone.txt)",
    ]
    found = split.reading(0)
    assert [(part.reason, part.where) for part in found.left_out] == [
        ("line that is there twice", "a.txt:3"),
        (BEYOND, "a.txt:4"),
        ("box without a mask", "a.txt:5"),
        ("polygon of fewer than 3 points", "a.txt:6"),
    ]
    assert found.record.unclear == ("fork",)
    with pytest.raises(
        LayoutError, match=r"1 label files have boxes without a polygon .*a\.txt.* by `--boxes unclear`"
    ):
        Yolo(tmp_path).splits()["train"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cup 0.1 0.1 0.5 0.1 0.5 0.5", r"a\.txt:1: expected the number of a class and a polygon, got 'cup 0"),
        ("0 0.1 nan 0.5 0.1 0.5 0.5", r"expected the number of a class and a polygon"),
        ("2 0.1 0.1 0.5 0.1 0.5 0.5", r"the class 2 has no name; there are 0 \(cup\), 1 \(fork\); correct `names`"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.9", "7 numbers after the class, so an x has no y; save predictions without conf"),
        ("0 5 5 25 5 25 15", r"its points are not fractions of the image \(0 5 5 .*; divide x by the width"),
    ],
)
def test_lines_of_another_kind_are_named_with_the_way_out(tmp_path, text, message):
    with pytest.raises(RecordError, match=message):
        reading(write(tmp_path, text))


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)) + "names: [*a59]"
"""A list of 2 to the power of 59 texts."""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("names: [cup, no]\ntrain: images", r"names: 1: expected a text, got False; put the name in quotes"),
        ("names: cup\ntrain: images", "names: expected a list, or a mapping of number to name, got 'cup'"),
        ("names: {cup: 0}\ntrain: images", "names: expected the number of a class, got 'cup'"),
        ("names: [cup]\nnc: 2\ntrain: images", "`nc` is 2, but `names` has 1"),
        ("names: [cup]\nkpt_shape: [17, 3]\ntrain: images", "its labels are key points; export polygons"),
        ("names: [cup]\ntrain: ../test/images", r"train: there is no '\.\./test/images' in .*; unpack it there"),
        ("names: [cup]\ntrain: {a: b}", r"train: expected a folder or a list of images, got"),
        ("names: [cup]", "it names no images"),
        ("names: [cup\n", "cannot be read as YAML"),
        (BOMB, r"names: 0: expected a text, got \[\["),
        ("names: ['cup, blue']\ntrain: images", "'cup, blue' cannot be asked for"),
        ("names: [cup]\ntrain: labels", "there are no images in"),
    ],
)
def test_descriptions_of_no_use_are_named_with_the_way_out(tmp_path, data, message):
    write(tmp_path, yolo_line(0, *SQUARE), data)
    with pytest.raises(LayoutError, match=message):
        convert(Yolo(tmp_path), tmp_path / "shards", processes=0)
    assert not (tmp_path / "shards").exists()


def test_a_split_without_labels_is_named(tmp_path):
    (write(tmp_path, "") / "labels" / "a.txt").unlink()
    with pytest.raises(LayoutError, match=r"none of its 1 images has a label file \(e\.g\. .*labels/a\.txt\)"):
        Yolo(tmp_path).splits()["train"]


def test_pictures_of_phones_are_stored_as_they_were_seen(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 6
    photograph(write(tmp_path, yolo_line(0, *SQUARE)) / "images" / "a.jpg", SIZE[::-1], exif=tag)
    record = reading(tmp_path).record
    assert record.size == record.image().shape[:2] == SIZE
    assert np.array_equal(record.category_masks()["cup"].decode(), drawn(*SQUARE))
    assert reading(tmp_path, exif="stored").record.size == SIZE[::-1]
