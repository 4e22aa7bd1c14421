from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.voc import VOC
from tests.helpers.converter_contract import ConverterContract, Expected, read_records
from tests.helpers.label_files import draw, save, values_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samples"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


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
            numbers = np.where(labels == 20, 2, labels)
            numbers[9:][labels[9:] == 20] = 3
            save(np.where(labels == 11, 1, numbers), root / "SegmentationObject" / f"{key}.png", palette=True)
            tables, sets = [labels == 11], [numbers == 2, numbers == 3]
            objects = {} if self.augmented else {"dining table": (tables, []), "tv monitor": (sets, [])}
            expected[split] = {key: Expected(image, masks, ignored=np.isin(labels, [0, 255]), objects=objects)}
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
    with pytest.raises(LayoutError, match=r"1 of the 5 files that .*'val' needs.*SegmentationClass/2007_999999\.png"):
        convert(VOC(tmp_path), tmp_path / "shards", processes=0)
    written = convert(VOC(tmp_path), tmp_path / "shards", broken="skip", processes=0)["val"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 1})


@pytest.mark.shared
@shared
def test_voc_samples(tmp_path):
    convert(VOC(SHARED / "voc"), tmp_path)
    records = read_records(tmp_path / "val")
    assert records
    for key, record in records.items():
        labels = np.asarray(Image.open(next(SHARED.glob(f"voc/VOCdevkit/*/SegmentationClass/{key}.png"))))
        assert np.array_equal(record.label_map.pixels, labels)
        assert set(record.objects()) == set(record.category_masks())


def test_a_folder_in_this_form_with_classes_of_its_own_is_refused(tmp_path):
    TestVOC().release(tmp_path)
    root = tmp_path / "VOCdevkit" / "VOC2012"
    (root / "labelmap.txt").write_text("cup:128,0,0::\n")
    with pytest.raises(LayoutError, match=r"labelmap\.txt: this folder has classes of its own.*`label_images`"):
        VOC(tmp_path).splits()
    (root / "labelmap.txt").unlink()
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("IMG_1\n2007_000003\n")
    with pytest.raises(LayoutError, match=r"1 images of .* are none of PASCAL VOC \(IMG_1\), whose .*`label_images`"):
        VOC(tmp_path).splits()
