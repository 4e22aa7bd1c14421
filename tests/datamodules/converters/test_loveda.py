from lasagna.datamodules.converters.loveda import LoveDA, loveda_manifest
from tests.helpers.converter_contract import Expected, QuickConverterContract
from tests.helpers.label_files import draw, save, values_of


class TestLoveDA(QuickConverterContract):
    def release(self, folder):
        expected = {}
        for split, part in (("train", "Train"), ("val", "Val")):
            expected[split] = {}
            for seed, scene in enumerate(("Urban", "Rural")):
                labels = values_of([0, 1, 2, 4, 5], seed + len(split))
                image = draw(folder / part / scene / "images_png" / "7.png", seed)
                save(labels, folder / part / scene / "masks_png" / "7.png")
                masks = {"building": labels == 2, "water": labels == 4, "barren land": labels == 5}
                expected[split][f"{scene.lower()}-7"] = Expected(image, masks, ignored=labels == 0)
        draw(folder / "Test" / "Urban" / "images_png" / "9.png")
        return expected

    def converter(self, folder):
        return LoveDA(folder)


def test_one_kind_of_scenes(tmp_path):
    TestLoveDA().release(tmp_path)
    splits = LoveDA(tmp_path, "rural").splits()
    assert {name: [item.key for item in split.items] for name, split in splits.items()} == {
        "train": ["rural-7"],
        "val": ["rural-7"],
    }


def test_background_is_of_no_class_and_counts():
    manifest = loveda_manifest()
    assert (manifest.void, manifest.background, len(manifest.categories)) == ((0,), (1,), 6)
    assert manifest.aliases == {"barren land": ("barren",), "agriculture": ("agricultural",)}
