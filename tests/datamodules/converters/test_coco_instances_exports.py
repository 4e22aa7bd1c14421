"""Exports in COCO's form are converted by their folder alone, as each labelling tool writes them."""

import numpy as np
import pytest

from lasagna.datamodules.converters import LayoutError
from lasagna.datamodules.converters.coco_instances import CocoInstances
from lasagna.errors import RecordError
from tests.helpers.exports import COCO_EXPORTS, SIZE, write_coco_of

SQUARE = np.zeros(SIZE, bool)
SQUARE[4:12, 5:20] = True


@pytest.mark.parametrize("tool", COCO_EXPORTS)
def test_the_folder_of_an_export_is_enough(tmp_path, tool):
    write_coco_of(tool, tmp_path)
    ((name, split),) = CocoInstances(tmp_path, exif="seen").splits().items()
    (record,) = split.records()
    assert (name, record.size, record.image().shape[:2]) == ("train", SIZE, SIZE)
    assert record.manifest.categories == ("coffee cup",)
    assert np.array_equal(record.category_masks()["coffee cup"].decode(), SQUARE)
    assert list(CocoInstances(tmp_path, split="test").splits()) == ["test"]


def test_pictures_of_phones_are_asked_about_wherever_the_annotations_are(tmp_path):
    write_coco_of("Label Studio", tmp_path)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").rename(tmp_path / "mine")
    (tmp_path / "result.json").rename(tmp_path / "annotations" / "instances_mine.json")
    with pytest.raises(RecordError, match="its EXIF tag turns the image"):
        list(CocoInstances(tmp_path).splits()["mine"].records())
    (seen,), (stored,) = (CocoInstances(tmp_path, exif=exif).splits()["mine"].records() for exif in ("seen", "stored"))
    assert (seen.size, stored.size) == (SIZE, SIZE[::-1])


def test_several_annotation_files_are_named(tmp_path):
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(LayoutError, match=r"several files of JSON \(one\.json, two\.json\); .* `--annotations`"):
        CocoInstances(tmp_path).splits()
