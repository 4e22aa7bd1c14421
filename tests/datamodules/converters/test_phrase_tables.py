"""RefCOCO-M and GroundingME's rejection part, in Parquet files as their cards describe them."""

import numpy as np
import pytest

from lasagna.datamodules.converters import LayoutError
from lasagna.datamodules.converters.phrase_tables import GroundingME, RefCOCOM
from lasagna.errors import RecordError
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, draw, rle
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND

pa = pytest.importorskip("pyarrow", reason="tables are read with pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def write(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def image(path):
    """A photograph outside of the table, as the tests compare its bytes, and the cell with them."""
    return draw(path), {"bytes": path.read_bytes(), "path": path.name}


class Tabled(BriefConverterContract):
    test_a_cut_image_stops_the_conversion_or_is_counted = None  # images are within the table


class TestRefCOCOM(Tabled):
    def release(self, folder):
        path, cell = image(folder.with_name("photographs") / "COCO_train2014_7.jpg")
        sample = {
            "id": 1,
            "image_id": 7,
            "category": "person",
            "sentences": ["the man", "left man"],
            "mask": rle(SQUARE),
        }
        other = sample | {"sentences": ["the dog"], "mask": rle(BAND)}
        row = {"image": cell, "image_id": 7, "file_name": path.name, "samples": [sample, other]}
        write(folder / "data" / "validation-00000-of-00001.parquet", row)
        phrases = {"the man": SQUARE, "left man": SQUARE, "the dog": BAND}
        return {"validation": {path.stem: Expected(path, absent=set(), phrases=phrases)}}

    def converter(self, folder):
        return RefCOCOM(folder)


class TestGroundingME(Tabled):
    def release(self, folder):
        path, cell = image(folder.with_name("photographs") / "5.jpg")
        rows = [
            {"id": 4, "description": "a red cup", "image": cell, "bbox": [1, 2, 3, 4], "subtask_l1": "Spatial"},
            {"id": 5, "description": "a blue cup", "image": cell, "bbox": [], "subtask_l1": "Rejection"},
        ]
        write(folder / "data" / "test-00000-of-00001.parquet", *rows)
        return {"test": {"5": Expected(path, absent=set(), phrases={"a blue cup": np.zeros(SIZE, bool)})}}

    def converter(self, folder):
        return GroundingME(folder)


def test_all_rows_of_refcocog_rej_fit_nothing_and_broken_or_other_tables_are_named(tmp_path):
    _, cell = image(tmp_path / "photographs" / "1.jpg")
    row = {"id": 1, "image": cell, "original_exp": "a cup", "rejected_exp": "a pot"}
    write(tmp_path / "rej" / "train.parquet", row)
    [record] = GroundingME(tmp_path / "rej").splits()["train"].records()
    assert [(phrase.text, phrase.masks) for phrase in record.phrases] == [("a pot", ())]
    assert record.manifest.name == "refcocog-rej"
    write(tmp_path / "cut" / "train.parquet", row | {"image": cell | {"bytes": cell["bytes"][:99]}})
    with pytest.raises(RecordError, match=r"train\.parquet: 1: the image cannot be decoded"):
        list(GroundingME(tmp_path / "cut").splits()["train"].records())
    with pytest.raises(LayoutError, match=r"train\.parquet: it has no column file_name, samples; there are id, image"):
        RefCOCOM(tmp_path / "rej").splits()["train"]
