import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.ade20k import ADE20K, ade20k_manifest
from tests.helpers.converter_contract import ConverterContract, Expected, read_records
from tests.helpers.label_files import draw, save, values_of

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samples"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


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


@pytest.mark.shared
def test_ade20k_can_have_the_names_that_the_original_asks_for(shared, tmp_path):
    grammar = json.loads((shared / "golden" / "data" / "grammar.json").read_text(encoding="utf-8"))
    [prompt] = [told["prompt"] for told in grammar["evaluation_prompts"] if told["dataset"] == "ade20k"]
    asked = prompt.partition("<cat_start> ")[2].partition(" <cat_end>")[0].split(", ")
    manifest = ade20k_manifest(tmp_path / "none.txt", original_names=True)
    assert list(manifest.categories) == asked
    assert "television" in manifest.aliases["television receiver"]


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
