import numpy as np
import pytest

from lasagna.datamodules.converters.common.conversion import convert
from lasagna.datamodules.converters.isaid import CLASSES, ISAID, LABEL, OBJECTS, isaid_manifest
from lasagna.errors import RecordError
from tests.helpers.converter_contract import Expected, QuickConverterContract
from tests.helpers.label_files import SIZE, draw, save

COLOURS = np.array([(0, 0, 0), *CLASSES.values()], np.uint8)


def paint(size=SIZE, seed=0):
    """Return labels with a ship, two storage tanks of which one touches the other, and the colours of objects."""
    labels, numbers = np.zeros(size, np.uint8), np.zeros((*size, 3), np.uint8)
    objects = {
        "ship": (1, slice(1, 5), slice(2, 9)),
        "tank": (2, slice(7, 12), slice(3, 8)),
        "next": (2, slice(7, 12), slice(8, 11)),
    }
    parts = {}
    for rank, (name, (value, rows, columns)) in enumerate(objects.items(), 1):
        labels[rows, columns], numbers[rows, columns] = value, (rank, 3 * rank + seed, 255 - rank)
        parts[name] = np.zeros(size, bool)
        parts[name][rows, columns] = True
    return labels, numbers, parts


class TestISAID(QuickConverterContract):
    semantic, instances = "images", "images"

    def release(self, folder):
        expected = {}
        for split, key in (("train", "P0002"), ("val", "P0003")):
            labels, numbers, parts = paint(seed=len(split))
            image = draw(folder / split / "images" / f"{key}.png")
            save(COLOURS[labels], folder / split / self.semantic / f"{key}{LABEL}.png")
            save(numbers, folder / split / self.instances / f"{key}{OBJECTS}.png")
            tanks = [parts["tank"], parts["next"]]
            masks = {"ship": parts["ship"], "storage tank": tanks[0] | tanks[1]}
            objects = {"ship": ([parts["ship"]], []), "storage tank": (tanks, [])}
            expected[split] = {key: Expected(image, masks, objects=objects)}
        draw(folder / "test" / "images" / "P0006.png")
        return expected

    def converter(self, folder):
        return ISAID(folder)


def test_masks_may_lie_in_the_folders_in_which_they_are_downloaded(tmp_path):
    there = TestISAID()
    there.semantic, there.instances = "Semantic_masks/images", "Instance_masks/images"
    expected = there.release(tmp_path)
    for split, records in expected.items():
        [record] = ISAID(tmp_path).splits()[split].records()
        [wanted] = records.values()
        assert [len(region.masks) for region in record.objects().values()] == [1, 2]
        assert set(record.category_masks()) == set(wanted.masks)


def test_a_colour_of_no_class_is_named(tmp_path):
    TestISAID().release(tmp_path)
    save(np.full((*SIZE, 3), 9, np.uint8), tmp_path / "train" / "images" / f"P0002{LABEL}.png")
    with pytest.raises(RecordError, match=r"P0002_instance_color_RGB\.png: 1 colours that belong to no class"):
        convert(ISAID(tmp_path), tmp_path / "shards", "train", processes=0)


def test_there_are_fifteen_classes_with_spoken_names():
    manifest = isaid_manifest()
    assert len(set(manifest.categories)) == 15
    assert manifest.labels[6] == "ground track field"
    assert manifest.aliases["ground track field"] == ("Ground_Track_Field",)
    assert "ship" not in manifest.aliases
