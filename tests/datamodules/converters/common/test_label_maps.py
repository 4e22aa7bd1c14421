"""Data sets with a label file for each image."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.__main__ import main
from lasagna.core.record import Manifest, Phrase, Record
from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.ade20k import ADE20K, ade20k_manifest
from lasagna.datamodules.converters.cityscapes import Cityscapes, cityscapes_manifest
from lasagna.datamodules.converters.coco_stuff import CocoStuff, coco_stuff_manifest
from lasagna.datamodules.converters.mapillary import Mapillary, spoken
from lasagna.datamodules.converters.voc import VOC
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.datamodules.shards.writer import write_shards
from lasagna.errors import ConfigError, RecordError, ShardError
from tests.helpers.converter_contract import ConverterContract, Expected, read_records

SHARED = Path(__file__).parents[5] / "shared" / "data" / "samples"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")
SIZE = (18, 26)


def draw(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    return path


def values_of(choices, seed=0):
    return np.random.default_rng(seed).choice(choices, SIZE).astype(np.uint8)


def save(labels, path, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)


class TestADE20K(ConverterContract):
    def release(self, folder):
        root, expected = folder / "ADEChallengeData2016", {}
        for split, part, key in (
            ("train", "training", "ADE_train_00000001"),
            ("val", "validation", "ADE_val_00000001"),
        ):
            labels = values_of([0, 1, 90, 150], len(split))
            image = draw(root / "images" / part / f"{key}.jpg")
            save(labels, root / "annotations" / part / f"{key}.png")
            masks = {"wall": labels == 1, "television": labels == 90, "flag": labels == 150}
            expected[split] = {key: Expected(image, masks, ignored=labels == 0)}
        return expected

    def converter(self, folder):
        return ADE20K(folder)


def test_ade20k_takes_the_names_of_the_release_and_keeps_synonyms(tmp_path):
    packaged = ade20k_manifest(tmp_path / "none.txt")
    assert packaged.aliases["building"] == ("edifice",)
    assert packaged.aliases["toilet"][:2] == ("can", "commode") and not {"pot", "stool"} & set(
        packaged.aliases["toilet"]
    )
    assert (len(packaged.categories), packaged.labels[1], packaged.labels[150]) == (150, "wall", "flag")
    (tmp_path / "own.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n1\t0.1576\t11664\t1172\tmy wall, barrier\n")
    own = ade20k_manifest(tmp_path / "own.txt")
    assert (own.labels, own.aliases) == ({1: "my wall"}, {"my wall": ("barrier",)})
    (tmp_path / "own.txt").write_text("Idx\nnothing;like;it\n")
    with pytest.raises(LayoutError, match="take the txt, not the csv"):
        ade20k_manifest(tmp_path / "own.txt")


def made(folder, *keys):
    manifest = Manifest("phrases", unannotated="unknown")
    buffer = BytesIO()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(buffer, "PNG")
    phrases = (Phrase("nothing", ()),)
    return write_shards(
        [Record(key, buffer.getvalue(), SIZE, manifest, phrases=phrases) for key in keys], folder, manifest
    )


def test_photographs_that_are_scored_elsewhere_are_left_out_and_counted(tmp_path):
    TestCocoStuff().release(tmp_path / "coco")
    labels = values_of([0, 1])
    for key in ("000000000010", "000000000011", "000000000012"):
        draw(tmp_path / "coco" / "train2017" / f"{key}.jpg")
        save(labels, tmp_path / "coco" / "stuffthingmaps_trainval2017" / "train2017" / f"{key}.png")
    made(tmp_path / "val", "COCO_train2014_000000000010")
    made(tmp_path / "test", "COCO_train2014_000000000011", "COCO_train2014_000000000099")
    others = f"{tmp_path / 'val'},{tmp_path / 'test'}"
    options = ["--source", str(tmp_path / "coco"), "--target", str(tmp_path / "shards"), "--splits", "train"]
    main(["convert", "coco_stuff", *options, "--without", others, "--processes", "0"])
    assert set(read_records(tmp_path / "shards" / "train")) == {"000000000009", "000000000012"}
    written = read_manifest(tmp_path / "shards" / "train")
    assert written.tally.left_out == {"photograph that other shards have (`--without`)": 2}
    assert written.settings["without"][:2] == others.split(",")
    made(tmp_path / "streets", "aachen_000001_000019")
    for folder, kind, message in (
        ("streets", ConfigError, "streets has no photographs of COCO"),
        ("coco", ShardError, "manifest"),
    ):
        with pytest.raises(kind, match=message):
            convert(CocoStuff(tmp_path / "coco"), tmp_path / "not", without=[str(tmp_path / folder)])
    assert not (tmp_path / "not").exists()


@pytest.mark.shared
@shared
def test_ade20k_samples(tmp_path):
    convert(ADE20K(SHARED / "ade20k"), tmp_path)
    records = read_records(tmp_path / "val")
    assert len(records) == 2
    for key, record in records.items():
        path = next(SHARED.glob(f"ade20k/ADEChallengeData2016/annotations/validation/{key}.png"))
        labels = np.asarray(Image.open(path))
        assert set(record.category_masks()) == {record.manifest.labels[int(v)] for v in np.unique(labels) if v}
        assert np.array_equal(record.ignored().decode() if (labels == 0).any() else labels == 0, labels == 0)
    assert ade20k_manifest(SHARED / "ade20k/ADEChallengeData2016/objectInfo150.txt") == ade20k_manifest(Path("none"))


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


def test_a_thing_that_never_has_pixels_is_an_error(tmp_path):
    draw(tmp_path / "train2017" / "1.jpg")
    save(values_of([0, 70]), tmp_path / "stuffthingmaps" / "train2017" / "1.png")
    with pytest.raises(RecordError, match=r"1\.png: record 1: label values \[70\]"):
        list(CocoStuff(tmp_path).splits()["train"].records())


class TestCityscapes(ConverterContract):
    def release(self, folder):
        expected = {}
        for split, city in (("train", "aachen"), ("val", "munster")):
            key = f"{city}_000000_000019"
            labels = values_of([0, 3, 7, 9, 16, 24, 25, 33], len(split))
            image = draw(folder / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png")
            save(labels, folder / "gtFine" / split / city / f"{key}_gtFine_labelIds.png")
            save(labels, folder / "gtFine" / split / city / f"{key}_gtFine_color.png")
            masks = {"road": labels == 7, "person": labels == 24, "rider": labels == 25, "bicycle": labels == 33}
            expected[split] = {key: Expected(image, masks, ignored=np.isin(labels, [0, 3, 9, 16]))}
        return expected

    def converter(self, folder):
        return Cityscapes(folder)


def test_cityscapes_instances_hold_the_label_ids(tmp_path):
    ids = np.where(values_of([0, 1]) == 0, 7, 26003).astype(np.uint16)
    draw(tmp_path / "leftImg8bit" / "val" / "a" / "a_0_0_leftImg8bit.png")
    path = tmp_path / "gtFine" / "val" / "a" / "a_0_0_gtFine_instanceIds.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(ids).save(path)
    (record,) = Cityscapes(tmp_path).splits()["val"].records()
    masks = record.category_masks()
    assert np.array_equal(masks["car"].decode(), ids == 26003)
    assert np.array_equal(masks["road"].decode(), ids == 7)


def test_cityscapes_has_nineteen_classes_and_ignores_all_others():
    manifest = cityscapes_manifest()
    assert len(manifest.categories) == 19
    assert manifest.void == (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)


@pytest.mark.shared
@shared
def test_cityscapes_layout_fixture():
    splits = Cityscapes(SHARED / "layout_fixtures" / "cityscapes").splits()
    assert {name: [item.key for item in split.items] for name, split in splits.items()} == {
        "train": ["defaultcity_000002_000045"],
        "val": ["defaultcity_000001_000019"],
    }
    assert all(list(split.records()) for split in splits.values())


LABELS = [("Bird", True), ("Traffic Sign (Back)", True), ("Car Mount", False), ("Unlabeled", False)]


class TestMapillary(ConverterContract):
    version, inner, config = "2.0", "v2.0/labels", "config_v2.0.json"

    def release(self, folder):
        expected = {}
        for split, part in (("train", "training"), ("val", "validation")):
            labels = values_of([0, 1, 2, 3], len(split))
            image = draw(folder / part / "images" / "a-B_c.jpg")
            save(labels, folder / part / self.inner / "a-B_c.png", palette=True)
            masks = {"bird": labels == 0, "traffic sign back": labels == 1}
            expected[split] = {"a-B_c": Expected(image, masks, ignored=labels >= 2)}
        labels = [{"name": name, "readable": name, "evaluate": evaluate} for name, evaluate in LABELS]
        (folder / self.config).write_text(json.dumps({"labels": labels}))
        return expected

    def converter(self, folder):
        return Mapillary(folder, self.version)


class TestMapillaryFlat(TestMapillary):
    version, inner, config = "1.2", "labels", "config.json"


def test_mapillary_refuses_other_versions(tmp_path):
    with pytest.raises(ConfigError, match=r"version: '3\.0'"):
        Mapillary(tmp_path, "3.0")


@pytest.mark.shared
@shared
@pytest.mark.parametrize(("version", "count"), [("1.2", 65), ("2.0", 116)])
def test_mapillary_names_of_the_release_are_unique(version, count):
    config = json.loads((SHARED / "mapillary_config" / f"config_v{version}.json").read_text())
    names = {spoken(label["readable"]) for label in config["labels"] if label["evaluate"]}
    assert len(names) == count - (version == "1.2") * (count - sum(label["evaluate"] for label in config["labels"]))


@pytest.mark.shared
@shared
@pytest.mark.parametrize("version", ["1.2", "2.0"])
def test_mapillary_layout_fixture(version):
    splits = Mapillary(SHARED / "layout_fixtures" / "mapillary_vistas", version).splits()
    assert {name: len(split) for name, split in splits.items()} == {"train": 1, "val": 2}


class TestVOC(ConverterContract):
    augmented, palette, folder = False, True, "SegmentationClass"

    def release(self, folder):
        root, expected = folder / "VOCdevkit" / "VOC2012", {}
        for split in ("train", "val"):
            key = f"2007_00000{len(split)}"
            labels = values_of([0, 11, 20, 255], len(split))
            image = draw(root / "JPEGImages" / f"{key}.jpg")
            save(labels, root / self.folder / f"{key}.png", self.palette)
            (root / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
            (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{key}\n")
            masks = {"dining table": labels == 11, "tv monitor": labels == 20}
            expected[split] = {key: Expected(image, masks, ignored=np.isin(labels, [0, 255]))}
        draw(root / "JPEGImages" / "2007_999999.jpg")
        return expected

    def converter(self, folder):
        return VOC(folder, self.augmented)


class TestVOCAugmented(TestVOC):
    augmented, palette, folder = True, False, "SegmentationClassAug"


def test_voc_background_may_count(tmp_path):
    TestVOC().release(tmp_path)
    (record,) = VOC(tmp_path, background="none").splits()["train"].records()
    labels = record.label_map.pixels
    assert np.array_equal(record.ignored().decode(), labels == 255)
    assert set(record.category_masks()) == {"dining table", "tv monitor"}


def test_voc_augmented_without_a_list_leaves_val_out(tmp_path):
    TestVOCAugmented().release(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").unlink()
    splits = VOC(tmp_path, augmented=True).splits()
    assert [item.key for item in splits["train"].items] == ["2007_000005"]


def test_voc_with_one_list_is_one_split(tmp_path):
    TestVOC().release(tmp_path)
    lists = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    (lists / "train.txt").rename(lists / "trainval.txt")
    (lists / "val.txt").unlink()
    assert {name: len(split) for name, split in VOC(tmp_path).splits().items()} == {"trainval": 1}


def test_voc_lists_name_what_is_missing(tmp_path):
    TestVOC().release(tmp_path)
    (tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").write_text("2007_000003\n2007_999999\n")
    with pytest.raises(LayoutError, match=r"1 of the 4 files that .*'val' needs.*SegmentationClass/2007_999999\.png"):
        convert(VOC(tmp_path), tmp_path / "shards", processes=0)
    written = convert(VOC(tmp_path), tmp_path / "shards", broken="skip", processes=0)["val"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 1})


@pytest.mark.shared
@shared
def test_voc_samples(tmp_path):
    convert(VOC(SHARED / "voc"), tmp_path)
    for key, record in read_records(tmp_path / "val").items():
        labels = np.asarray(Image.open(next(SHARED.glob(f"voc/VOCdevkit/*/SegmentationClass/{key}.png"))))
        assert np.array_equal(record.label_map.pixels, labels)
        assert record.category_masks()
