"""Answers in the forms of other tools, read back by rules of those tools."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco
from scipy.ndimage import gaussian_filter

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_formats import voc_palette
from lasagna.errors import QueryError

SIZE = 40, 60


def blobs(seed, size=SIZE):
    """Draw a mask of several parts, some with holes, some at the border."""
    return gaussian_filter(np.random.default_rng(seed).standard_normal(size), 3) > 0.03


def ring():
    mask = np.zeros(SIZE, dtype=bool)
    mask[5:25, 10:40], mask[10:20, 15:30] = True, False
    return mask


def answer(*masks, name="sea horse"):
    found = AnsweredEntry(name, True, 0.9, masks=masks, scores=(0.9,) * len(masks))
    return Answer("", (found, AnsweredEntry("dog", False, 0.1)))


@pytest.mark.parametrize("mask", [*map(blobs, range(8)), ring()])
def test_labelme_draws_the_mask_again(mask):
    content = answer(mask).to_labelme("../boat.jpg", SIZE)
    canvas = Image.new("L", SIZE[::-1])
    for shape in content["shapes"]:
        points = [tuple(point) for point in shape["points"]]
        ImageDraw.Draw(canvas).polygon(points, fill=1, outline=1)
        assert len(points) > 2
        assert (shape["label"], shape["shape_type"]) == ("sea horse", "polygon")
    assert (np.asarray(canvas, dtype=bool) == mask).all()
    assert content["flags"] == {"sea horse": True, "dog": False}
    assert (content["imagePath"], content["imageHeight"], content["imageWidth"]) == ("../boat.jpg", *SIZE)


def test_labelme_groups_the_parts_of_an_object():
    shapes = answer(ring(), blobs(1)).to_labelme("boat.jpg", SIZE)["shapes"]
    assert [shape["group_id"] for shape in shapes] == [0] + [1] * (len(shapes) - 1)
    assert len(shapes) > 3


@pytest.mark.parametrize("mask", [*map(blobs, range(4)), ring()])
def test_yolo_has_one_line_for_an_object_that_covers_its_mask(mask):
    (line,) = answer(mask).to_yolo(["dog", "Sea  Horse"])
    number, *corners = line.split()
    corners = (np.array(corners, dtype=float).reshape(-1, 2) * SIZE[::-1]).ravel()
    drawn = coco.decode(coco.merge(coco.frPyObjects([corners.tolist()], *SIZE))).astype(bool)
    # the way to a further part and back is a line without width, of which some pixels are drawn
    assert number == "1"
    assert not (mask & ~drawn).any()
    assert (drawn & ~mask).sum() < 0.02 * mask.sum()


def test_an_empty_mask_and_absent_names_give_no_line_and_no_shape():
    empty = Answer("", (AnsweredEntry("dog", True, 0.9, np.zeros(SIZE, dtype=bool)), AnsweredEntry("cat", False, 0.1)))
    assert empty.to_yolo(["cat", "dog"]) == []
    assert empty.to_labelme("x.jpg", SIZE)["shapes"] == []
    assert not np.asarray(empty.to_label_image(["cat", "dog"])).any()


def test_label_images_count_from_one_in_the_colours_of_voc():
    image = answer(ring()).to_label_image(["dog", "sea horse"])
    assert image.mode == "P"
    assert (np.asarray(image) == 2 * ring()).all()
    assert image.convert("RGB").getpixel((10, 5)) == (0, 128, 0)
    assert voc_palette()[[0, 1, 15, 21, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [192, 128, 128],
        [128, 64, 128],
        [224, 224, 192],
    ]


@pytest.mark.parametrize("form", ["to_yolo", "to_label_image"])
def test_a_name_outside_of_the_list_is_an_error(form):
    with pytest.raises(QueryError, match=r"names: \['sea horse'\] of the answer are not among the 1 given; add them"):
        getattr(answer(ring()), form)(["dog"])


def test_too_many_names_for_a_label_image():
    with pytest.raises(QueryError, match="256 do not fit into a label image of 8 bits; give at most 255"):
        answer(ring(), name="0").to_label_image([str(number) for number in range(256)])


def test_supervision_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(QueryError, match="pip install supervision"):
        answer(ring()).to_supervision()


def test_supervision_reads_boxes_masks_and_names():
    sv = pytest.importorskip("supervision")
    two = answer(ring(), blobs(1))
    found = two.to_supervision(["dog", "sea horse"])
    assert (found.mask == np.stack([ring(), blobs(1)])).all()
    assert (sv.mask_to_xyxy(found.mask) == found.xyxy - [0, 0, 1, 1]).all()
    assert found.class_id.tolist() == [1, 1]
    assert found["class_name"].tolist() == ["sea horse"] * 2
    assert found.confidence == pytest.approx([0.9, 0.9])
    assert len(Answer("", (AnsweredEntry("dog", False, 0.1),)).to_supervision()) == 0
