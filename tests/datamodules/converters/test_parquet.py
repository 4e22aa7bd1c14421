import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.parquet import Parquet
from lasagna.datamodules.shards.tally import BEYOND
from lasagna.errors import ConfigError, LasagnaError, RecordError
from tests.helpers.converter_contract import Expected, QuickConverterContract
from tests.helpers.exports import SIZE, box_points, photograph, write_datasets

pa = pytest.importorskip("pyarrow", reason="tables are read with pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

FLAT = [float(side) for point in box_points(5, 4, 20, 12) for side in point]
SQUARE = coco.decode(coco.merge(coco.frPyObjects([FLAT], *SIZE))).astype(bool)
PLAIN = {"image": "image", "masks": "masks", "names": "names"}


def png(pixels):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def reading(folder, columns=PLAIN, **settings):
    return Parquet(folder, columns, **settings).splits()["train"].reading(0)


class TestParquetContract(QuickConverterContract):
    def release(self, folder):
        one, two = photograph(folder / "one.jpg"), photograph(folder / "two.jpg")
        cup = {"name": "coffee_cup", "mask": [FLAT]}
        write(folder / "train.parquet", {"image": "one.jpg", "id": "a", "things": [cup, cup | {"name": "fork"}]})
        write(folder / "test.parquet", {"image": "two.jpg", "id": "b", "things": [cup]})
        masks = {"coffee cup": SQUARE, "fork": SQUARE}
        first = Expected(one, masks, objects={name: ([SQUARE], []) for name in masks})
        second = Expected(two, {"coffee cup": SQUARE}, objects={"coffee cup": ([SQUARE], [])})
        return {"train": {"a": first}, "test": {"b": second}}

    def converter(self, folder):
        return Parquet(folder, {"image": "image", "key": "id", "masks": "things.mask", "names": "things.name"})


def test_a_data_set_of_hugging_face_with_classes_that_it_names(tmp_path):
    write_datasets(tmp_path)
    columns = {"image": "image", "masks": "objects.segmentation", "names": "objects.category"}
    found = reading(tmp_path, columns)
    assert (found.record.key, found.record.manifest.categories) == ("00000000", ("traffic light", "cup"))
    assert {name: region.mask.decode().sum() for name, region in found.record.objects().items()} == {
        "traffic light": 90,
        "cup": 35,
    }
    assert [part.reason for part in found.left_out] == [BEYOND]
    table = pq.read_table(tmp_path / "data" / "train-00000-of-00001.parquet")
    for name, write_as in (("train", pa.ipc.new_stream), ("validation", pa.ipc.new_file)):
        (tmp_path / "saved" / name).mkdir(parents=True)
        with write_as(tmp_path / "saved" / name / "data-00000-of-00001.arrow", table.schema) as file:
            file.write_table(table)
    splits = Parquet(tmp_path / "saved", columns).splits()
    assert list(splits) == ["train", "validation"]
    assert [len(list(split.records())) for split in splits.values()] == [1, 1]


def test_label_images_with_a_file_of_classes(tmp_path):
    path, values = photograph(tmp_path / "a.png"), SQUARE.astype(np.uint8)
    write(tmp_path / "a.parquet", {"picture": path.read_bytes(), "annotation": {"bytes": png(values), "path": None}})
    (tmp_path / "id2label.json").write_text(json.dumps({"0": "background", "1": "cup"}))
    split = Parquet(tmp_path, {"image": "picture", "labels": "annotation"}).splits()["train"]
    (record,) = split.records()
    assert (record.image_bytes, split.notes) == (path.read_bytes(), ["'background' belongs to no class"])
    assert np.array_equal(record.category_masks()["cup"].decode(), SQUARE)
    with pytest.raises(RecordError, match=r"row 00000000: labels: .* 0 \(\d+ pixels\); name them in .*id2label"):
        (tmp_path / "id2label.json").write_text(json.dumps({"1": "cup"}))
        reading(tmp_path, {"image": "picture", "labels": "annotation"})


RLE = {"size": list(SIZE), "counts": coco.encode(np.asfortranarray(SQUARE, np.uint8))["counts"].decode()}


@pytest.mark.parametrize(
    "mask", [FLAT, [FLAT], json.dumps([FLAT]), RLE, {"bytes": png(SQUARE), "path": None}, png(SQUARE)]
)
def test_masks_in_all_forms_with_phrases(tmp_path, mask):
    photograph(tmp_path / "a.png")
    write(tmp_path / "a.parquet", {"image": "a.png", "masks": mask, "texts": ["the left one", "the cup"]})
    columns = {"image": "image", "masks": "masks", "texts": "texts"}
    if mask == [FLAT] or isinstance(mask, str):
        write(tmp_path / "a.parquet", {"image": "a.png", "masks": [FLAT, FLAT], "texts": ["the left one", "the cup"]})
    record = reading(tmp_path, columns).record
    assert [phrase.text for phrase in record.phrases] == ["the left one", "the cup"]
    assert all(np.array_equal(phrase.masks[0].decode(), SQUARE) for phrase in record.phrases)


def test_what_is_left_out_is_counted_and_its_class_unclear(tmp_path):
    photograph(tmp_path / "a.png")
    write(
        tmp_path / "a.parquet", {"image": "a.png", "masks": [FLAT, None], "names": ["cup", "fork"], "texts": ["x", "y"]}
    )
    found = reading(tmp_path, {**PLAIN, "texts": "texts"})
    assert (found.record.unclear, [phrase.text for phrase in found.record.phrases]) == (("fork",), ["x"])
    assert [part.reason for part in found.left_out] == ["empty segmentation", "phrase without a mask"]


@pytest.mark.parametrize(
    ("row", "columns", "message"),
    [
        ({"masks": [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]]}, {}, r"mask 0: mask: its points are fractions .* the width 30"),
        ({"masks": [FLAT, FLAT]}, {}, "1 names and 2 masks; there must be one for each"),
        ({"image": "https://x.org/a.png"}, {}, "is an address, and nothing is downloaded"),
        ({"image": "gone.png"}, {}, r"gone\.png: the file cannot be read"),
        ({"image": "../../gone.png"}, {}, r"'\.\./\.\./gone\.png' leads out of the folder"),
        ({"names": [3]}, {}, "there are numbers such as 3, .* `--classes`"),
        ({"names": ["cup, red"]}, {}, "'cup, red' cannot be asked for"),
        ({}, {"names": None}, r"name the column of the image, .*a\.parquet has image \(string\), masks"),
        ({}, {"picture": "image"}, "columns: picture is none of what a column can be"),
        (
            {},
            {"masks": "polygons.all"},
            r"columns: masks: .* has no column 'polygons\.all'; there are image, masks, names",
        ),
    ],
)
def test_faults_are_named_with_the_way_out(tmp_path, row, columns, message):
    photograph(tmp_path / "a.png")
    write(tmp_path / "a.parquet", {"image": "a.png", "masks": [FLAT], "names": ["cup"], **row})
    roles = {role: name for role, name in {**PLAIN, **columns}.items() if name}
    with pytest.raises(LasagnaError, match=message):
        convert(Parquet(tmp_path, roles), tmp_path / "shards", processes=0)


def test_a_folder_without_tables_and_an_installation_without_the_extra_are_named(tmp_path, monkeypatch):
    with pytest.raises(LayoutError, match=r"there is no file \.parquet or \.arrow"):
        Parquet(tmp_path).splits()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigError, match=r"read with pyarrow; `pip install -e \.\[parquet\]`"):
        Parquet(tmp_path).splits()
