from pathlib import Path

import pytest

from lasagna.datamodules.converters.coco_stuff import CocoStuff, coco_stuff_manifest
from lasagna.errors import RecordError
from tests.helpers.converter_contract import ConverterContract, Expected
from tests.helpers.label_files import draw, save, values_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samples"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


class TestCocoStuff(ConverterContract):
    folder = "stuffthingmaps_trainval2017"

    def release(self, folder):
        expected = {}
        for split, key in (("train", "000000000009"), ("val", "000000000139")):
            labels = values_of([0, 175, 180, 111, 255], len(split))
            image = draw(folder / f"{split}2017" / f"{key}.jpg")
            draw(folder / f"{split}2017" / "000000777777.jpg")
            save(labels, folder / self.folder / f"{split}2017" / f"{key}.png")
            masks = {
                "person": labels == 0,
                "wood wall": labels == 175 + 0,
                "window": labels == 180,
                "door": labels == 111,
            }
            masks["tile wall"] = masks.pop("wood wall")
            expected[split] = {key: Expected(image, masks, ignored=labels == 255)}
        return expected

    def converter(self, folder):
        return CocoStuff(folder)


class TestCocoStuffInTheFolderOfLISA(TestCocoStuff):
    folder = "cocostuff"


def test_coco_stuff_names_are_unique_and_only_those_with_pixels():
    manifest = coco_stuff_manifest()
    assert len(set(manifest.categories)) == 171
    assert not {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90} & set(manifest.labels)
    assert manifest.labels[180] == "window"
    assert manifest.aliases["window"] == ("window-other",)
    assert {"window blind", "brick wall", "tile ceiling"} <= set(manifest.categories)


def test_coco_stuff_can_have_the_names_that_the_original_asks_for():
    spoken, asked = coco_stuff_manifest(), coco_stuff_manifest(original_names=True)
    differing = {asked.labels[value] for value in spoken.labels if asked.labels[value] != spoken.labels[value]}
    walls = {f"wall-{material}" for material in ("brick", "concrete", "panel", "stone", "tile", "wood")}
    floors = {f"floor-{material}" for material in ("marble", "stone", "tile", "wood")}
    assert differing == walls | floors | {"ceiling-tile", "window-blind", "playingfield"}
    assert (asked.labels[180], asked.aliases["wall-brick"]) == ("window", ("brick wall",))
    assert len(set(asked.categories)) == 171


def test_a_thing_that_never_has_pixels_is_an_error(tmp_path):
    draw(tmp_path / "train2017" / "1.jpg")
    save(values_of([0, 70]), tmp_path / "stuffthingmaps" / "train2017" / "1.png")
    with pytest.raises(RecordError, match=r"1\.png: record 1: label values \[70\]"):
        list(CocoStuff(tmp_path).splits()["train"].records())
