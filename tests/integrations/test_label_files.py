"""Files of labels read back: by the converters of this package, by pycocotools, and by supervision."""

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_json import answer_json
from lasagna.core.batch import Query
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.core.storage import write_json
from lasagna.datamodules.converters.coco_instances import CocoInstances
from lasagna.datamodules.converters.label_images import LabelImages
from lasagna.datamodules.converters.labelme import LabelMe
from lasagna.datamodules.converters.yolo import Yolo
from lasagna.errors import QueryError
from lasagna.integrations.label_files import FORMATS, LabelFiles, read_formats

NAMES = ["sea horse", "cup", "dog"]
SIZE = 24, 32


def box(left, top, width, height):
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


CUPS = box(2, 3, 6, 5), box(12, 3, 4, 9)
HORSE = box(0, 14, 9, 8) | box(20, 20, 12, 4)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Write the answers about two pictures in every form, and the pictures where the forms expect them."""
    out = tmp_path_factory.mktemp("labels")
    answers = {
        "a": Answer(
            "",
            (
                AnsweredEntry("cup", True, 0.9, masks=CUPS, scores=(0.8, 0.7)),
                AnsweredEntry("sea horse", True, 0.95, HORSE, 0.9),
                AnsweredEntry("dog", False, 0.1),
            ),
        ),
        "b": Answer("", tuple(AnsweredEntry(name, False, 0.2) for name in NAMES)),
    }
    files = LabelFiles(out, tuple(FORMATS), NAMES)
    for stem, answer in answers.items():
        for folder in (out, out / "yolo" / "images", out / "png" / "images"):
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", SIZE[::-1], (90, 120, 30)).save(folder / f"{stem}.jpg")
        files.write(out / f"{stem}.jpg", stem, SIZE, [answer])
        plain = answer_json(Query(0, CATEGORY_LIST, tuple(NAMES)), answer)
        write_json(out / f"{stem}.answer", {"image": f"{stem}.jpg", "size": list(SIZE), "answers": [plain]})
    files.finish([out / "a.answer", out / "b.answer"])
    return out


def objects_of(converter):
    """Return the masks of the first record's objects, by name."""
    split = converter.splits()["train"]
    record = next(found for found in (split.read(item).record for item in split.items) if found.key == "a")
    return {
        region.name: sorted((mask.decode() for mask in region.masks), key=lambda mask: mask.argmax())
        for region in record.regions
    }


def test_coco_has_the_masks_the_scores_and_what_is_absent(written):
    coco = COCO(str(written / "coco.json"))
    assert [coco.cats[number]["name"] for number in (1, 2, 3)] == NAMES
    assert [(coco.imgs[n]["file_name"], coco.imgs[n]["neg_category_ids"]) for n in (1, 2)] == [
        ("a.jpg", [3]),
        ("b.jpg", [1, 2, 3]),
    ]
    found = [(coco.anns[n]["category_id"], coco.anns[n]["score"], coco.annToMask(coco.anns[n])) for n in (1, 2, 3)]
    assert [(category, score) for category, score, _ in found] == [(2, 0.8), (2, 0.7), (1, 0.95)]
    assert all((mask == drawn).all() for (*_, mask), drawn in zip(found, (*CUPS, HORSE), strict=True))
    assert [coco.anns[n]["area"] for n in (1, 2, 3)] == [30, 36, 120]


def test_the_converters_of_the_package_read_every_form(written):
    wholes = {"cup": list(CUPS), "sea horse": [HORSE]}
    for converter in (LabelMe(written / "labelme"), CocoInstances(written, annotations=written / "coco.json")):
        found = objects_of(converter)
        assert set(found) == set(wholes)
        assert all(
            (mask == drawn).all() for name in wholes for mask, drawn in zip(found[name], wholes[name], strict=True)
        )
    found = objects_of(Yolo(written / "yolo"))
    assert all((mask == drawn).all() for mask, drawn in zip(found["cup"], CUPS, strict=True))
    assert not (HORSE & ~found["sea horse"][0]).any()


def test_label_images_are_read_by_the_package(written):
    split = LabelImages(written / "png").splits()["train"]
    labels = np.asarray(Image.open(BytesIO(split.read(split.items[0]).record.label_bytes)))
    named = {name: mask_of for mask_of, name in enumerate(["background", *NAMES])}
    assert (labels == named["cup"] * (CUPS[0] | CUPS[1]) + named["sea horse"] * HORSE).all()


def test_supervision_reads_yolo_and_coco(written):
    sv = pytest.importorskip("supervision")
    folder = written / "yolo"
    for found in (
        sv.DetectionDataset.from_yolo(
            str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
        ),
        sv.DetectionDataset.from_coco(str(written), str(written / "coco.json"), force_masks=True),
    ):
        assert list(found.classes) == NAMES
        _, _, detections = next(found for found in found if found[0].endswith("a.jpg"))
        assert sorted(detections.class_id.tolist()) == [0, 1, 1]
        assert not (CUPS[0] & ~detections.mask.any(0)).any()


def test_a_form_that_is_not_known():
    assert read_formats("coco, yolo") == ("coco", "yolo")
    for text in ("voc", "coco,voc"):
        with pytest.raises(QueryError, match="format: 'voc' is not known; give some of coco, labelme, yolo, png"):
            read_formats(text)
    with pytest.raises(QueryError, match="png holds at most 255 names, and 300 are asked for"):
        LabelFiles("out", ["png"], [str(number) for number in range(300)])


def test_labelme_names_the_image_from_its_own_folder(written):
    assert json.loads((written / "labelme" / "a.json").read_text())["imagePath"] == "../a.jpg"
