import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.label_classes import read_classes
from lasagna.datamodules.converters.label_images import LabelImages
from lasagna.errors import ConfigError, LasagnaError, RecordError
from tests.helpers.converter_contract import Expected, QuickConverterContract
from tests.helpers.exports import SIZE, photograph, write_cvat_masks

ROWS, COLUMNS = np.indices(SIZE)


def inside(left, top, right, bottom):
    return (left <= COLUMNS) & (right > COLUMNS) & (top <= ROWS) & (bottom > ROWS)


class TestLabelImagesContract(QuickConverterContract):
    def release(self, folder):
        write_cvat_masks(folder)
        one, two = (folder / "JPEGImages" / f"{name}.jpg" for name in ("one", "two"))
        cups, fork = [inside(2, 3, 9, 9), inside(12, 3, 16, 9)], inside(20, 10, 28, 18)
        masks = {"cup": cups[0] | cups[1], "fork and knife": fork}
        first = Expected(one, masks, objects={"cup": (cups, []), "fork and knife": ([fork], [])})
        return {"train": {"one": first, "two": Expected(two)}}

    def converter(self, folder):
        return LabelImages(folder)


def write(folder, pixels, classes="background\ncup\nfork\n", label="labels/a.png", mode=None):
    photograph(folder / "images" / "a.jpg")
    (folder / label).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(folder / label)
    (folder / "classes.txt").write_text(classes)
    return folder


def reading(folder, **settings):
    return LabelImages(folder, **settings).splits()["train"].reading(0).record


VALUES = np.where(inside(5, 4, 20, 12), 1, 0).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_values_in_one_channel_in_three_equal_ones_and_with_a_palette(tmp_path, mode):
    pixels = VALUES.astype(bool) if mode == "1" else VALUES
    record = reading(write(tmp_path, pixels, mode=None if mode in "P1" else mode))
    assert np.array_equal(record.category_masks()["cup"].decode(), VALUES == 1)
    assert (record.manifest.categories, record.manifest.background) == (("cup", "fork"), (0,))
    assert record.ignored() is None and not record.objects()


def test_what_is_void_or_background_is_said_by_names_or_options(tmp_path):
    pixels = np.where(inside(20, 4, 25, 12), 255, VALUES).astype(np.uint8)
    write(tmp_path, pixels, "0 void\n1 cup\n7 Fork\n")
    message = r"a\.png: 1 values have no name: 255 \(40 pixels\); name them in .*, ignore them by `--void 255`, or take"
    with pytest.raises(RecordError, match=message):
        reading(tmp_path)
    assert LabelImages(tmp_path).splits()["train"].notes == ["'void' is ignored"]
    record = reading(tmp_path, void="255,fork", background="void")
    assert (record.manifest.labels, record.manifest.void, record.manifest.background) == ({1: "cup"}, (7, 255), (0,))
    assert np.array_equal(record.ignored().decode(), pixels == 255)
    with pytest.raises(ConfigError, match="void: there is no class 'spoon'; there are void, cup, Fork"):
        LabelImages(tmp_path, void="spoon").splits()


def test_colours_of_no_class_are_listed(tmp_path):
    pixels = np.zeros((*SIZE, 3), np.uint8)
    pixels[3:5, 4:9] = (9, 8, 7)
    write(tmp_path, pixels, "0 0 0\tbackground\n128 0 0\tcup\n")
    with pytest.raises(
        RecordError, match=r"colours that belong to no class, e\.g\. \(9, 8, 7\) on 10 pixels; name them"
    ):
        reading(tmp_path)
    write(tmp_path, np.where(VALUES[..., None], (128, 0, 0), 0).astype(np.uint8), "background:0,0,0::\ncup:128,0,0::\n")
    assert np.array_equal(reading(tmp_path).category_masks()["cup"].decode(), VALUES == 1)
    write(tmp_path, pixels)
    with pytest.raises(RecordError, match=r"expected a value in one channel, as .*classes\.txt names them"):
        reading(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "3: cup\n4: fork\n\n"),
        ("a.csv", "Pixel Value, Class\n3, cup\n4, fork\n"),
        ("a.json", '{"3": "cup", "4": "fork"}'),
        ("a.json", '{"cup": 3, "fork": 4}'),
        ("a.json", '{"classes": [{"id": 3, "name": "cup"}, {"id": 4, "name": "fork"}]}'),
    ],
)
def test_files_of_values(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name) == {3: "cup", 4: "fork"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "# label:color_rgb:parts:actions\ncup:128,0,0::\nfork:0,128,0:tine:\n"),
        ("a.txt", "128 0 0 cup\n0 128 0\tfork\n"),
        ("a.csv", "name, r, g, b\ncup, 128, 0, 0\nfork, 0, 128, 0\n"),
        ("a.csv", "name,color\ncup,#800000\nfork,#008000\n"),
        ("a.json", '{"cup": [128, 0, 0], "fork": "#008000"}'),
        ("a.json", '{"#800000": "cup", "#008000": "fork"}'),
        ("a.json", '[{"title": "cup", "color": "#800000"}, {"title": "fork", "color": [0, 128, 0]}]'),
    ],
)
def test_files_of_colours(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_classes(tmp_path / name) == {(128, 0, 0): "cup", (0, 128, 0): "fork"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "there are no classes; known are"),
        ("a.txt", "cup\n\nfork", "the classes 1 have no name"),
        ("a.txt", "cup:128,0,0::\nfork", "'fork' is not of the form name:r,g,b::"),
        ("a.txt", "cup:::", "expected a colour of three numbers from 0 to 255, got ''"),
        ("a.csv", "name,shade\ncup,3", "there is none of value, id, .* among name, shade"),
        ("a.csv", "name,id\ncup,1\nfork,1", "both 'cup' and 'fork' are 1; correct one of them"),
        ("a.json", '{"cup": 3, "fork": [0, 0, 300]}', "expected a colour of three numbers"),
        ("a.json", '{"cup": 3, "fork": [0, 0, 30]}', "some classes have a value and others a colour"),
        ("a.json", "7", "the classes cannot be read"),
        ("a.xml", "", r"expected a file \.txt, \.csv or \.json"),
    ],
)
def test_files_of_classes_of_no_use_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(LayoutError, match=message):
        read_classes(tmp_path / name)


def test_a_folder_for_each_split_with_label_images_beside_images(tmp_path):
    for split in ("train", "valid"):
        photograph(tmp_path / split / "a.jpg")
        Image.fromarray(VALUES).save(tmp_path / split / "a_mask.png")
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cup\n")
    splits = LabelImages(tmp_path).splits()
    assert {name: [item.key for item in split.items] for name, split in splits.items()} == {
        "train": ["a"],
        "valid": ["a"],
    }
    assert list(next(splits["valid"].records()).category_masks()) == ["cup"]


@pytest.mark.parametrize("listed", ["cam 1/one\ntwo\n", "cam 1\\one.jpg\nJPEGImages/two.jpg\n", "one\ntwo\n", None])
def test_subfolders_of_images_as_cvat_writes_them(tmp_path, listed):
    write_cvat_masks(tmp_path)
    for file in [*tmp_path.glob("*/one.*")]:
        (file.parent / "cam 1").mkdir()
        file.rename(file.parent / "cam 1" / file.name)
    file = tmp_path / "ImageSets" / "Segmentation" / "default.txt"
    file.unlink() if listed is None else file.write_text(listed)
    if listed == "one\ntwo\n":  # the list must say which "one", of which each folder may have another
        with pytest.raises(LasagnaError, match=r"2 of the 5 files .* missing \(\S+JPEGImages/one\.jpg, \S+/one\.png\)"):
            convert(LabelImages(tmp_path), tmp_path / "shards", processes=0)
        return
    records = {record.key: record for record in LabelImages(tmp_path).splits()["train"].records()}
    assert list(records) == ["cam 1/one", "two"]
    assert len(records["cam 1/one"].objects()["cup"].masks) == 2


def test_label_images_with_an_ending_in_folders_of_splits(tmp_path):
    write(tmp_path, VALUES, label="masks/val/a_gt.png")
    (tmp_path / "images" / "val").mkdir()
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / "val" / "a.jpg")
    with pytest.raises(LayoutError, match=r"no label image has the stem .* a_gt\.png and a\.jpg\); say .* `--ending"):
        LabelImages(tmp_path).splits()["val"]
    assert [item.key for item in LabelImages(tmp_path, ending="_gt").splits()["val"].items] == ["a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "classes.txt").unlink(), r"there is no file of classes in .*labelmap\.txt"),
        (lambda folder: (folder / "images" / "a.jpg").rename(folder / "a.jpg"), "1 label files .* and no images"),
        (lambda folder: (folder / "images").rename(folder / "photos"), "other folder has no usual name .* `--images`"),
        (lambda folder: photograph(folder / "labels" / "b.jpg"), r"1 label images are stored as JPEG \(b\)"),
        (lambda folder: photograph(folder / "labels" / "a.png", (9, 9)), "expected a value in one channel"),
        (lambda folder: photograph(folder / "images" / "a.jpg", (9, 9)), "has height and width .9, 9., but its annot"),
        (lambda folder: (folder / "classes.txt").write_text("background\ncup, red"), "cannot be asked for"),
    ],
)
def test_faults_are_named_with_the_way_out(tmp_path, change, message):
    change(write(tmp_path, VALUES))
    with pytest.raises(LasagnaError, match=message):
        convert(LabelImages(tmp_path), tmp_path / "shards", processes=0)


def test_pictures_of_phones_have_the_turn_of_their_label_images(tmp_path):
    tag = Image.Exif()
    tag[0x0112] = 6
    photograph(write(tmp_path, VALUES) / "images" / "a.jpg", SIZE[::-1], exif=tag)
    record = reading(tmp_path)
    assert record.size == record.image().shape[:2] == SIZE
