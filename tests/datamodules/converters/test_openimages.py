import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.openimages import OpenImages, fit_nearest
from tests.helpers.converter_contract import ConverterContract, Expected

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samples" / "layout_fixtures" / "open_images_v6"
SMALL = np.zeros((10, 15), bool)
SMALL[2:6, 3:9] = True
LARGE = np.zeros((20, 30), bool)
LARGE[12:, 20:] = True


def draw(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


class TestOpenImages(ConverterContract):
    images, masks, tables = "train", "train-masks-0", ""

    def release(self, folder):
        image = draw(folder / self.images / "0a1b.jpg", np.full((20, 30, 3), 70, np.uint8))
        draw(folder / self.masks / "0a1b_m01_11.png", SMALL.astype(np.uint8) * 255)
        draw(folder / self.masks / "0a1b_m01_22.png", LARGE)
        draw(folder / self.masks / "0a1b_m02_33.png", np.zeros((20, 30), np.uint8))
        rows = [("0a1b_m01_11.png", "/m/01"), ("0a1b_m01_22.png", "/m/01"), ("0a1b_m02_33.png", "/m/02")]
        table = ["MaskPath,ImageID,LabelName,BoxID", *(f"{mask},0a1b,{label},x" for mask, label in rows)]
        names = ["/m/01,Doughnut", "/m/02,Toilet paper", "/m/03,Wrench", "/m/04,Sky"]
        labels = ["ImageID,Source,LabelName,Confidence"]
        labels += ["0a1b,verification,/m/03,0", "0a1b,verification,/m/02,0", "0a1b,verification,/m/04,0"]
        tables = folder / self.tables
        tables.mkdir(parents=True, exist_ok=True)
        (tables / "train-annotations-object-segmentation.csv").write_text("\n".join(table))
        (tables / "class-descriptions-boxable.csv").write_text("\n".join(names))
        (tables / "classes-segmentation.txt").write_text("/m/01\n/m/02\n/m/03\n")
        (tables / "oidv6-train-annotations-human-imagelabels.csv").write_text("\n".join(labels))
        large = np.repeat(np.repeat(SMALL, 2, 0), 2, 1)
        objects, unclear = {"doughnut": ([large, LARGE], [])}, {"toilet paper"}
        one = Expected(image, {"doughnut": large | LARGE}, absent={"wrench"}, unclear=unclear, objects=objects)
        return {"train": {"0a1b": one}}

    def converter(self, folder):
        return OpenImages(folder)


class TestOpenImagesByLetter(TestOpenImages):
    images, masks, tables = "images/train/0", "masks/train", "annotations"


@pytest.mark.parametrize("name", ["train-annotations-human-imagelabels", "train-annotations-human-imagelabels-boxable"])
def test_labels_in_any_of_the_files_of_the_releases_are_verified_negatives(tmp_path, name, capsys):
    TestOpenImages().release(tmp_path / "oi")
    (tmp_path / "oi" / "oidv6-train-annotations-human-imagelabels.csv").rename(tmp_path / "oi" / f"{name}.csv")
    (record,) = OpenImages(tmp_path / "oi").splits()["train"].records()
    assert record.absent == ("wrench",)
    convert(OpenImages(tmp_path / "oi"), tmp_path / "with", processes=0)
    assert "no verified negatives" not in capsys.readouterr().out
    (tmp_path / "oi" / f"{name}.csv").unlink()
    convert(OpenImages(tmp_path / "oi"), tmp_path / "without", processes=0)
    told = capsys.readouterr().out
    assert "no verified negatives found" in told
    assert "train-annotations-human-imagelabels-boxable.csv" in told


LABELS = "oidv6-train-annotations-human-imagelabels.csv"


@pytest.mark.parametrize("row", ["0a1b,crowdsource-verification,/m/03,1", "0a1b,verification,/m/03,1.0"])
def test_what_one_person_found_is_not_absent_since_another_did_not(tmp_path, row):
    TestOpenImages().release(tmp_path)
    text = (tmp_path / LABELS).read_text().splitlines()
    for lines in ([*text, row], [text[0], row, *text[1:]]):
        (tmp_path / LABELS).write_text("\n".join(lines))
        (record,) = OpenImages(tmp_path).splits()["train"].records()
        assert record.absent == ()
    (tmp_path / LABELS).write_text("\n".join(text))
    (tmp_path / "train-annotations-human-imagelabels.csv").write_text(f"{text[0]}\n{row}")
    (record,) = OpenImages(tmp_path).splits()["train"].records()
    assert record.absent == ()


@pytest.mark.parametrize("name", ["train-annotations-bbox.csv", "oidv6-train-annotations-bbox.csv"])
def test_what_has_a_box_is_not_absent_and_unclear_where_it_has_no_mask(tmp_path, name, capsys):
    TestOpenImages().release(tmp_path / "oi")

    def of_boxes(*boxes):
        head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction"
        rows = [f"{image},xclick,{label},1,0,1,0,1,0,0,{group},0" for image, label, group in boxes]
        (tmp_path / "oi" / name).write_text("\n".join([head, *rows]))
        (record,) = OpenImages(tmp_path / "oi").splits()["train"].records()
        return record.absent, set(record.unclear)

    doughnuts = [("0a1b", "/m/01", 0)] * 2
    assert of_boxes(*doughnuts, ("other", "/m/03", 0), ("0a1b", "/m/04", 0)) == (("wrench",), {"toilet paper"})
    assert of_boxes(*doughnuts, ("0a1b", "/m/03", 0)) == ((), {"toilet paper", "wrench"})
    assert of_boxes(*doughnuts, doughnuts[0]) == (("wrench",), {"toilet paper", "doughnut"})
    assert of_boxes(("0a1b", "/m/01", 1)) == (("wrench",), {"toilet paper", "doughnut"})
    convert(OpenImages(tmp_path / "oi"), tmp_path / "with", processes=0)
    assert "no boxes found" not in capsys.readouterr().out
    (tmp_path / "oi" / name).unlink()
    convert(OpenImages(tmp_path / "oi"), tmp_path / "without", processes=0)
    assert "no boxes found, so incomplete masks cannot be recognised" in capsys.readouterr().out


def test_a_large_table_is_not_held_in_memory(tmp_path):
    TestOpenImages().release(tmp_path)
    table = tmp_path / "train-annotations-object-segmentation.csv"
    with table.open("a") as file:
        file.writelines(f"\n{number}.png,0a1b,/m/01,{number:0>3000}" for number in range(3000))
    tracemalloc.start()
    OpenImages(tmp_path).splits()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < table.stat().st_size / 2


def test_masks_are_resized_with_nearest_neighbours():
    assert np.array_equal(fit_nearest(SMALL, (20, 30)), np.repeat(np.repeat(SMALL, 2, 0), 2, 1))
    assert fit_nearest(SMALL, (10, 15)) is SMALL


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("class-descriptions-boxable.csv", "/m/01,Doughnut", r"2 classes have no description \(/m/02, /m/03\)"),
        ("train-annotations-object-segmentation.csv", "a,b\n1,2", "has no column ImageID, LabelName, MaskPath"),
        (
            "train-annotations-object-segmentation.csv",
            "MaskPath,ImageID,LabelName\nx.png,0a1b",
            ":2: the row is cut",
        ),
        (
            "train-annotations-object-segmentation.csv",
            "MaskPath,ImageID,LabelName\n../x.png,0a1b,/m/01",
            r"the name '\.\./x\.png' leads out",
        ),
        ("classes-segmentation.txt", b"\x80".decode("latin-1"), "cannot be read as text"),
    ],
)
def test_tables_that_do_not_fit_are_named(tmp_path, file, content, message):
    TestOpenImages().release(tmp_path)
    (tmp_path / file).write_text(content, encoding="latin-1")
    with pytest.raises(LayoutError, match=message):
        OpenImages(tmp_path).splits()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the layout fixtures are not beside the repository")
def test_layout_fixture():
    (record,) = OpenImages(SHARED).splits()["train"].records()
    assert record.key == "b"
    assert set(record.category_masks()) == {"generic label #0"}
    assert record.absent == ()
