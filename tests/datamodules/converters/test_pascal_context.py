import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.common.names import packaged_names
from lasagna.datamodules.converters.pascal_context import PascalContext, context_classes
from lasagna.errors import ConfigError, RecordError
from tests.helpers.converter_contract import ConverterContract, Expected

savemat = pytest.importorskip("scipy.io").savemat
NAMES = {words[0]: value for value, words in packaged_names("pascal_context_459").items()}
SIZE = (18, 26)


def labels_of(*names):
    values = [0, NAMES["unknown"], *(NAMES[name] for name in names)]
    return np.random.default_rng(1).choice(values, SIZE).astype(np.uint16)


class TestPascalContext59(ConverterContract):
    classes = 59

    def release(self, folder):
        labels = labels_of("table", "bedclothes", "window", "accordion")
        voc = folder / "VOCdevkit" / "VOC2010"
        for part in (voc / "JPEGImages", voc / "ImageSets" / "Main", folder / "trainval"):
            part.mkdir(parents=True)
        expected = {}
        for split, key in (("train", "2008_000002"), ("val", "2008_000003")):
            image = voc / "JPEGImages" / f"{key}.jpg"
            Image.fromarray(np.full((*SIZE, 3), 70, np.uint8)).save(image)
            savemat(folder / "trainval" / f"{key}.mat", {"LabelMap": labels})
            (voc / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{key}\n2008_999999\n")
            expected[split] = {key: self.what(image, labels)}
        return expected

    def what(self, image, labels):
        names = {"dining table": "table", "bedclothes": "bedclothes", "window": "window"}
        masks = {said: labels == NAMES[name] for said, name in names.items()}
        return Expected(image, masks, ignored=~np.any(list(masks.values()), axis=0))

    def converter(self, folder):
        return PascalContext(folder, self.classes)


class TestPascalContext459(TestPascalContext59):
    classes = 459

    def what(self, image, labels):
        masks = {name: labels == NAMES[name] for name in ("table", "bedclothes", "window", "accordion")}
        return Expected(image, masks, ignored=np.isin(labels, [0, NAMES["unknown"]]))


def test_all_59_classes_are_found_by_name():
    manifest, values = context_classes(59, packaged_names("pascal_context_459"))
    assert len(values) == len(set(values.values())) == len(manifest.categories) == 59
    assert values[NAMES["cloth"]] == next(value for value, name in manifest.labels.items() if name == "cloth")


def test_the_labels_of_the_release_decide(tmp_path):
    TestPascalContext59().release(tmp_path)
    (tmp_path / "labels.txt").write_text("1: window\n")
    with pytest.raises(LayoutError, match=r"the classes aeroplane, bicycle, .* are missing; unpack it"):
        PascalContext(tmp_path).splits()
    (record,) = PascalContext(tmp_path, 459).splits()["train"].records()
    assert set(record.category_masks()) == {"window"}


def test_without_lists_all_is_one_split(tmp_path):
    TestPascalContext59().release(tmp_path)
    for path in tmp_path.glob("VOCdevkit/VOC2010/ImageSets/Main/*.txt"):
        path.unlink()
    assert {name: len(split) for name, split in PascalContext(tmp_path).splits().items()} == {"trainval": 2}


def test_files_that_are_not_there_are_named_or_counted(tmp_path):
    TestPascalContext59().release(tmp_path)
    (tmp_path / "VOCdevkit/VOC2010/ImageSets/Main/train.txt").write_text("2008_000002\n2008_000003\n")
    (tmp_path / "VOCdevkit/VOC2010/JPEGImages/2008_000003.jpg").unlink()
    with pytest.raises(LayoutError, match=r"1 of the 4 files that .*'train' needs.*2008_000003\.jpg"):
        convert(PascalContext(tmp_path), tmp_path / "shards", ["train"], processes=0)
    written = convert(PascalContext(tmp_path), tmp_path / "shards", ["train"], "skip", processes=0)["train"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 1})


def test_listed_images_without_a_label_file_are_reported(tmp_path, capsys):
    TestPascalContext59().release(tmp_path)
    convert(PascalContext(tmp_path), tmp_path / "shards", processes=0)
    assert capsys.readouterr().out.count("1 images have no annotation (2008_999999) and were left out") == 2


def test_broken_files_and_classes_are_named(tmp_path):
    TestPascalContext59().release(tmp_path)
    (tmp_path / "trainval" / "2008_000002.mat").write_bytes(b"not matlab")
    with pytest.raises(RecordError, match=r"2008_000002\.mat: the label map cannot be read"):
        list(PascalContext(tmp_path).splits()["train"].records())
    with pytest.raises(ConfigError, match="classes: 33 is neither 59 nor 459"):
        PascalContext(tmp_path, 33)
