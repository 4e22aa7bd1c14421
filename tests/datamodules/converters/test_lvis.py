import json
from pathlib import Path

import numpy as np
import pytest

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.lvis import LVIS
from lasagna.tasks import Instances
from tests.helpers.coco_files import SQUARE, TRIANGLE, category, draw, polygon, rle, write
from tests.helpers.converter_contract import ConverterContract, Expected, read_records

SHARED = Path(__file__).parents[4] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


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
        objects = {name: ([pixels], []) for name, pixels in masks.items()}
        absent = {"fish (food)", "trash can"}
        return {"val": {"000000000009": Expected(image, masks, absent=absent, unclear={"fish"}, objects=objects)}}

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


def test_objects_are_asked_for_where_all_are_drawn_or_none_is_there(tmp_path):
    TestLVIS().release(tmp_path)
    [record] = LVIS(tmp_path).splits()["val"].records()
    [dialogue] = Instances().dialogues(record, np.random.default_rng(0))
    assert set(dialogue.query) == {"mouse", "fish (food)", "trash can"}
    [mouse] = dialogue.entries
    assert mouse.name == "mouse" and (mouse.masks[0].decode() == SQUARE).all()


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
