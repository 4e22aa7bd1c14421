from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters.cityscapes import Cityscapes, cityscapes_manifest
from tests.helpers.converter_contract import ConverterContract, Expected
from tests.helpers.label_files import draw, save, values_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samples"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


class TestCityscapes(ConverterContract):
    def release(self, folder):
        expected = {}
        for split, city in (("train", "aachen"), ("val", "munster")):
            key = f"{city}_000000_000019"
            labels = values_of([0, 3, 7, 9, 16, 24, 25, 33], len(split))
            image = draw(folder / "leftImg8bit" / split / city / f"{key}_leftImg8bit.png")
            save(labels, folder / "gtFine" / split / city / f"{key}_gtFine_labelIds.png")
            save(labels, folder / "gtFine" / split / city / f"{key}_gtFine_color.png")
            numbers = np.where(labels >= 24, labels.astype(np.uint16) * 1000 + 1, labels)
            numbers[:, ::2] += (labels == 24)[:, ::2]
            numbers[labels == 33] = 33  # a group of bicycles
            save(numbers, folder / "gtFine" / split / city / f"{key}_gtFine_instanceIds.png")
            masks = {"road": labels == 7, "person": labels == 24, "rider": labels == 25, "bicycle": labels == 33}
            people = [numbers == 24001, numbers == 24002]
            objects = {"person": (people, []), "rider": ([masks["rider"]], []), "bicycle": ([], [masks["bicycle"]])}
            expected[split] = {key: Expected(image, masks, ignored=np.isin(labels, [0, 3, 9, 16]), objects=objects)}
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
