import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.ade20k_full import ADE20KFull
from tests.helpers.converter_contract import ConverterContract, Expected, read_records
from tests.helpers.label_files import SIZE, draw, save, values_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samples" / "ade20k" / "ADE20K_2021_17_01"


def annotated(rank, name, key, level=0):
    return {
        "id": rank,
        "name": name,
        "parts": {"hasparts": [], "ispartof": [], "part_level": level},
        "instance_mask": f"{key}/instance_{rank:03d}_{key}.png",
    }


class TestADE20KFull(ConverterContract):
    """Two buildings, one partly hidden by a car, a door, which is a part, a thing without a name, and a hidden tree."""

    def release(self, folder):
        expected = {}
        for split, part in (("train", "training"), ("val", "validation")):
            key, place = f"ADE_{split}_00000001", folder / "images" / "ADE" / part / "urban" / "street"
            image, labels = draw(place / f"{key}.jpg"), values_of([0, 1, 2, 3, 4], len(split))
            names = ("building, edifice", "building, edifice", "car, auto", "-", "tree")
            values = [np.where(labels == value, 255, 0) for value in range(1, 5)] + [np.full(SIZE, 128)]
            values[0][labels == 3] = 128
            for rank, pixels in enumerate(values):
                save(pixels.astype(np.uint8), place / key / f"instance_{rank:03d}_{key}.png")
            objects = [annotated(rank, name, key) for rank, name in enumerate(names)]
            content = {"annotation": {"object": [*objects, annotated(5, "door", key, level=1)]}}
            (place / f"{key}.json").write_text(json.dumps(content), encoding="latin-1")
            found = {"building": ([labels == 1, labels == 2], []), "car": ([labels == 3], [])}
            masks = {"building": np.isin(labels, [1, 2]), "car": labels == 3}
            ignored = np.isin(labels, [0, 4])
            expected[split] = {key: Expected(image, masks, unclear={"tree"}, ignored=ignored, objects=found)}
        return expected

    def converter(self, folder):
        return ADE20KFull(folder)


def test_the_first_synonym_is_the_name_and_the_others_are_aliases(tmp_path):
    TestADE20KFull().release(tmp_path / "ADE20K_2021_17_01")
    manifest = ADE20KFull(tmp_path).splits()["val"].manifest
    assert manifest.categories == ("building", "car", "tree")
    assert manifest.aliases == {"building": ("edifice",), "car": ("auto",)}


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")
def test_the_sample_has_the_classes_of_its_label_file(tmp_path):
    convert(ADE20KFull(SHARED), tmp_path, processes=0)
    (record,) = read_records(tmp_path / "train").values()
    path = next(SHARED.rglob("*_seg.png"))
    codes = np.asarray(Image.open(path)).astype(int)
    classes = codes[..., 0] // 10 * 256 + codes[..., 1]
    content = json.loads(path.with_name(path.name.replace("_seg.png", ".json")).read_bytes())
    numbers = {part["name_ndx"]: part["name"].split(",")[0] for part in content["annotation"]["object"]}
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    for number in set(np.unique(classes).tolist()) - {0}:
        mask = masks[numbers[number]]
        assert (classes[mask] == number).all(), numbers[number]
        # the release's two files differ at 255 of its 3.2 million pixels
        assert np.count_nonzero(classes[~mask] == number) < 200
    assert not (record.ignored().decode() < (classes == 0)).any()
    assert len(record.objects()["van"].masks) == 2
