import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.coco_panoptic import CocoPanoptic
from lasagna.errors import RecordError
from tests.helpers.converter_contract import ConverterContract, Expected, read_records

SHARED = Path(__file__).parents[4] / "shared" / "data"

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 175, "name": "wall-stone", "isthing": 0},
    {"id": 200, "name": "rug-merged", "isthing": 0},
]

SEGMENTS = {70000: 1, 256 * 7 + 3: 1, 9: 175, 300: 200}
CROWD = 256 * 7 + 3


def write_release(folder, changes=None):
    """Two people, a wall, unlabelled pixels; a rug that is listed and not drawn."""
    expected = {}
    for split in ("train", "val"):
        ids = np.random.default_rng(len(split)).choice([0, 70000, 256 * 7 + 3, 9], (20, 30)).astype(np.int64)
        colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        key = f"{139 + len(split):012d}"
        image = folder / f"{split}2017" / f"{key}.jpg"
        label = folder / "annotations" / f"panoptic_{split}2017" / f"{key}.png"
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(colours).save(label)
        Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(image)
        content = {
            "images": [
                {"id": 139, "file_name": image.name, "height": 20, "width": 30},
                {"id": 7, "file_name": "no.jpg"},
            ],
            "categories": CATEGORIES,
            "annotations": [
                {
                    "image_id": 139,
                    "file_name": label.name,
                    "segments_info": [
                        {"id": one, "category_id": of, "iscrowd": int(one == CROWD)} for one, of in SEGMENTS.items()
                    ],
                }
            ],
        }
        (folder / "annotations" / f"panoptic_{split}2017.json").write_text(json.dumps(content | (changes or {})))
        masks = {"person": (ids == 70000) | (ids == 256 * 7 + 3), "stone wall": ids == 9}
        objects = {"person": ([ids == 70000], [ids == CROWD])}
        expected[split] = {key: Expected(image, masks, unclear={"rug"}, ignored=ids == 0, objects=objects)}
    return expected


class TestCocoPanopticContract(ConverterContract):
    def release(self, folder):
        return write_release(folder)

    def converter(self, folder):
        return CocoPanoptic(folder)


def test_a_segment_that_is_not_drawn_is_counted(tmp_path):
    write_release(tmp_path / "coco")
    tally = convert(CocoPanoptic(tmp_path / "coco"), tmp_path / "shards")["train"].tally
    assert tally.left_out == {"segment without a pixel": 1}
    assert tally.examples["segment without a pixel"] == ["segment 300 of image 000000000144"]


def test_a_segment_that_is_not_listed_is_an_error(tmp_path):
    write_release(tmp_path)
    path = tmp_path / "annotations" / "panoptic_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"] = [{"id": 9, "category_id": 175}]
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=r"000000000144\.png: segments 1795, 70000 are not listed"):
        list(CocoPanoptic(tmp_path).splits()["train"].records())


def test_images_without_annotations_are_reported(tmp_path, capsys):
    write_release(tmp_path)
    convert(CocoPanoptic(tmp_path), tmp_path / "shards", ["train"], processes=0)
    assert "1 images have no annotation (no.jpg) and were left out" in capsys.readouterr().out


def test_missing_parts_are_named(tmp_path):
    write_release(tmp_path)
    (tmp_path / "train2017" / "000000000144.jpg").unlink()
    with pytest.raises(LayoutError, match=r"1 of the 2 files that the split 'train' needs"):
        convert(CocoPanoptic(tmp_path), tmp_path / "shards")
    with pytest.raises(LayoutError, match="elsewhere"):
        CocoPanoptic(tmp_path, images=tmp_path / "elsewhere").splits()["train"]


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photographs are not beside the repository")
def test_real_photographs(tmp_path):
    written = convert(CocoPanoptic(SHARED / "coco"), tmp_path)
    assert {name: shards.records for name, shards in written.items()} == {"train": 100, "val": 38}
    manifest = written["val"].manifest
    assert len(manifest.categories) == len(set(manifest.categories)) == 133
    content = json.loads((SHARED / "coco" / "annotations" / "panoptic_val2017.json").read_text())
    records = read_records(tmp_path / "val")
    for annotation in content["annotations"]:
        areas = {}
        for segment in annotation["segments_info"]:
            areas[segment["category_id"]] = areas.get(segment["category_id"], 0) + segment["area"]
        masks = records[Path(annotation["file_name"]).stem].category_masks()
        assert {name: int(mask.decode().sum()) for name, mask in masks.items()} == {
            manifest.labels[number]: area for number, area in areas.items()
        }
