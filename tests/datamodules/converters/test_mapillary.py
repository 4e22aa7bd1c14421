import json
from pathlib import Path

import numpy as np
import pytest

from lasagna.datamodules.converters.mapillary import Mapillary, spoken
from lasagna.errors import ConfigError
from tests.helpers.converter_contract import ConverterContract, Expected
from tests.helpers.label_files import draw, save, values_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samples"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")

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
            numbers = labels.astype(np.uint16) * 256
            numbers[:9] += 1
            save(numbers, folder / part / self.inner.replace("labels", "instances") / "a-B_c.png")
            objects = {"bird": ([numbers == 0, numbers == 1], [])}
            expected[split] = {"a-B_c": Expected(image, masks, ignored=labels >= 2, objects=objects)}
        labels = [
            {"name": name, "readable": name, "evaluate": evaluate, "instances": name == "Bird"}
            for name, evaluate in LABELS
        ]
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
    names = [spoken(label["readable"]) for label in config["labels"] if label["evaluate"]]
    assert len(names) == len(set(names)) == count


@pytest.mark.shared
@shared
@pytest.mark.parametrize("version", ["1.2", "2.0"])
def test_mapillary_layout_fixture(version):
    splits = Mapillary(SHARED / "layout_fixtures" / "mapillary_vistas", version).splits()
    assert {name: len(split) for name, split in splits.items()} == {"train": 1, "val": 2}
