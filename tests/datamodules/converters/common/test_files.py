"""The same releases in other folders that people unpack them into."""

import shutil

import pytest

import tests.datamodules.converters.test_cityscapes as cityscapes
import tests.datamodules.converters.test_coco_panoptic as coco_panoptic
import tests.datamodules.converters.test_coco_stuff as coco_stuff
import tests.datamodules.converters.test_grefcoco as grefcoco
import tests.datamodules.converters.test_lvis as lvis
import tests.datamodules.converters.test_mapillary as mapillary
import tests.datamodules.converters.test_openimages as openimages
import tests.datamodules.converters.test_paco as paco
import tests.datamodules.converters.test_pascal_part as pascal_part
import tests.datamodules.converters.test_refer as refer
from lasagna.datamodules.converters import LayoutError, convert
from lasagna.datamodules.converters.lvis import LVIS
from lasagna.datamodules.converters.mapillary import Mapillary
from lasagna.datamodules.converters.openimages import OpenImages
from lasagna.datamodules.converters.paco import PACO

COCO = ("images/mscoco/images/train2014", "images/train2014")
LAYOUTS = [
    (coco_stuff.TestCocoStuff, [("train2017", "images/train2017"), ("val2017", "images/val2017")]),
    (lvis.TestLVIS, [("train2017", "images/train2017"), ("lvis_v1_val.json", "annotations/lvis_v1_val.json")]),
    (paco.TestPACO, [("val2017", "images/val2017")]),
    (pascal_part.TestPascalPart, [("train.json", "vlpart/pascal_part/train.json")]),
    (
        coco_panoptic.TestCocoPanopticContract,
        [("annotations/panoptic_val2017", "panoptic_val2017"), ("val2017", "images/val2017")],
    ),
    (openimages.TestOpenImages, [("train", "train_0")]),
    (cityscapes.TestCityscapes, [(name, f"{name}_trainvaltest/{name}") for name in ("leftImg8bit", "gtFine")]),
    (refer.TestRefCOCO, [COCO]),
    (refer.TestRefCOCO, [(COCO[0], "train2014")]),
    (grefcoco.TestGRefCOCO, [COCO]),
    (refer.TestRefCLEF, [("images/saiapr_tc-12", "saiapr_tc-12")]),
]


@pytest.mark.parametrize(("kind", "moves"), LAYOUTS)
def test_other_layouts_give_the_same_records(tmp_path, kind, moves):
    expected = kind().release(tmp_path / "release")
    for start, end in moves:
        (tmp_path / "release" / end).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(tmp_path / "release" / start, tmp_path / "release" / end)
    written = convert(kind().converter(tmp_path / "release"), tmp_path / "shards", processes=0)
    assert {name: part.records for name, part in written.items()} == {
        name: len(part) for name, part in expected.items()
    }


def test_coco_stuff_reports_images_without_a_label_file(tmp_path, capsys):
    coco_stuff.TestCocoStuff().release(tmp_path / "release")
    convert(coco_stuff.CocoStuff(tmp_path / "release"), tmp_path / "shards", processes=0)
    assert capsys.readouterr().out.count("1 images have no annotation (000000777777) and were left out") == 2


def test_coco_images_elsewhere(tmp_path):
    for kind, converter in ((lvis.TestLVIS, LVIS), (paco.TestPACO, PACO)):
        kind().release(tmp_path / kind.__name__)
        (images,) = (path for path in (tmp_path / kind.__name__).glob("*2017"))
        shutil.move(images, tmp_path / "coco" / "images" / images.name)
        found = converter(tmp_path / kind.__name__, images=tmp_path / "coco").splits()
        assert all(list(split.records()) for split in found.values())


def test_files_with_a_mark_of_their_encoding(tmp_path):
    lvis.TestLVIS().release(tmp_path / "lvis")
    openimages.TestOpenImages().release(tmp_path / "openimages")
    for path in (path for ending in ("json", "csv", "txt") for path in tmp_path.rglob(f"*.{ending}")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for converter in (LVIS(tmp_path / "lvis"), OpenImages(tmp_path / "openimages")):
        assert all(list(split.records()) for split in converter.splits().values())


def test_the_other_version_of_mapillary_is_reported(tmp_path):
    mapillary.TestMapillaryFlat().release(tmp_path)
    with pytest.raises(
        LayoutError, match=r"no .*config_v2\.0\.json.*\n.*\n.*\n.*\nThere is config\.json.*--version 1\.2"
    ):
        Mapillary(tmp_path).splits()
