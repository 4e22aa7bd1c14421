import json
from pathlib import Path

import pytest

from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.paco import PACO
from tests.helpers.coco_files import SQUARE, TRIANGLE, category, draw, polygon, rle, write
from tests.helpers.converter_contract import ConverterContract, Expected

SHARED = Path(__file__).parents[4] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


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
        objects = {name: ([pixels], []) for name, pixels in masks.items()}
        return {"test": {"000000000139": Expected(image, masks, absent=absent, unclear=unclear, objects=objects)}}

    def converter(self, folder):
        return PACO(folder)


def test_negatives_of_no_category_are_reported(tmp_path, capsys):
    TestPACO().release(tmp_path)
    path = tmp_path / "annotations" / "paco_lvis_v1_test.json"
    content = json.loads(path.read_text())
    content["images"][0]["neg_category_ids"].append(5555)
    path.write_text(json.dumps(content))
    convert(PACO(tmp_path), tmp_path / "shards", processes=0)
    assert "1 ids of `neg_category_ids` belong to no category and are ignored (5555)" in capsys.readouterr().out
