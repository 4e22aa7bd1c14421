import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from lasagna.datamodules.converters.common.coco import FAR, FEW_POINTS, ODD_NUMBERS, lost_parts, read_coco, read_mask
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.shards.tally import Skipped
from lasagna.errors import RecordError

SIZE = (20, 30)
TRIANGLE = [2.0, 2.0, 25.0, 3.0, 10.0, 17.5]


def rle(pixels):
    return {"size": list(pixels.shape), "counts": coco.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()}


def test_every_coding_gives_the_pixels_of_pycocotools():
    square = np.zeros(SIZE, bool)
    square[4:9, 5:20] = True
    polygon = coco.decode(coco.merge(coco.frPyObjects([TRIANGLE], *SIZE))).astype(bool)
    runs = {"size": list(SIZE), "counts": [4 * 1, 3, 20 * 30 - 7]}
    column = coco.decode(coco.frPyObjects(runs, *SIZE)).astype(bool)
    for coding, pixels in (
        ([TRIANGLE], polygon),
        (rle(square), square),
        (runs, column),
        ([rle(square), rle(polygon)], square | polygon),
        ([TRIANGLE, [1.0, 2.0, 3.0, 4.0]], polygon),
    ):
        assert np.array_equal(read_mask(coding, SIZE, "here").decode(), pixels)


@pytest.mark.parametrize(
    ("coding", "reason"),
    [
        ([], "empty segmentation"),
        (None, "empty segmentation"),
        ({"size": list(SIZE), "counts": []}, "empty segmentation"),
        ([[1.0, 2.0, 3.0, 4.0]], "polygon of fewer than 3 points"),
        (rle(np.zeros(SIZE, bool)), "mask without a pixel"),
        ([TRIANGLE, [0.0, 0.0, 1e7, 0.0, 1e7, 1e7]], FAR),
        ([[1e9, 1e9, 1e9, 1e9 + 5, 1e9 + 5, 1e9]], FAR),
        ([[100.0, 100.0, 120.0, 100.0, 120.0, 140.0]], "mask without a pixel"),
    ],
)
def test_what_is_no_mask_is_left_out(coding, reason):
    assert read_mask(coding, SIZE, "annotation 3") == Skipped(reason, "annotation 3")


@pytest.mark.parametrize("coding", [{"size": [5, 5], "counts": [25]}, [["a"] * 6], 7, {"counts": [1, 2]}])
def test_a_coding_of_another_size_or_kind_is_an_error(coding):
    with pytest.raises(RecordError, match="annotation 3"):
        read_mask(coding, SIZE, "annotation 3")


@pytest.mark.parametrize(
    ("polygon", "size"),
    [
        ([-900.0, -400.0, 700.0, 5.0, 3.0, 800.0], (2, 2)),
        ([-900.0, -400.0, 700.0, 5.0, 3.0, 800.0], (3, 6)),
        ([1.0, 1.0, 4000.0, 2.0, 1.0, 90.0], (6, 6)),
        ([*TRIANGLE, 9.0], SIZE),
        ([*TRIANGLE, 1.0, 9.0, 7.0], SIZE),
    ],
)
def test_polygons_that_reach_far_or_end_too_soon_are_drawn_as_pycocotools_does(polygon, size):
    expected = coco.decode(coco.merge(coco.frPyObjects([polygon], *size))).astype(bool)
    assert expected.any()
    assert np.array_equal(read_mask([polygon], size, "here").decode(), expected)


def test_polygons_without_an_inside_beside_good_ones_are_counted():
    coding = [TRIANGLE, [1.0, 2.0, 3.0, 4.0], [*TRIANGLE, 9.0]]
    assert [part.reason for part in lost_parts(coding, SIZE, "here")] == [FEW_POINTS, ODD_NUMBERS]
    assert not lost_parts([TRIANGLE], SIZE, "here") and not lost_parts(None, SIZE, "here")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.floats(-5, 35, width=32), min_size=6, max_size=12).map(lambda p: p[: len(p) // 2 * 2]), max_size=3
    )
)
def test_polygons_are_drawn_as_pycocotools_does(polygons):
    mask = read_mask(polygons, SIZE, "here")
    expected = (
        coco.decode(coco.merge(coco.frPyObjects(polygons, *SIZE))).astype(bool) if polygons else np.zeros(SIZE, bool)
    )
    if isinstance(mask, Skipped):
        assert not expected.any()
    else:
        assert np.array_equal(mask.decode(), expected)


def write(path, **changes):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 20, "width": 30}],
        "categories": [{"id": 90, "name": "toothbrush"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 90, "segmentation": [TRIANGLE]}],
    } | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


def test_annotations_are_grouped_by_image(tmp_path):
    found = read_coco(write(tmp_path / "a.json"))
    assert found.categories[90]["name"] == "toothbrush"
    assert [annotation["id"] for annotation in found.annotations[7]] == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "missing: 'images'"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "share their id with another one"),
        ({"annotations": [{"id": 1, "image_id": 8, "category_id": 90}]}, "name images that do not exist: 8"),
        ({"annotations": [{"id": 1, "image_id": 7, "category_id": 91}]}, "name categories that do not exist: 91"),
        (
            {"annotations": [{"image_id": 7, "category_id": 90}]},
            r"annotations\[0\]: `id` is missing; it has im",
        ),
        ({"images": [{"id": 7, "file_name": None}]}, r"images\[0\]: `file_name` must be a text, got None"),
        ({"images": [{"id": 7, "file_name": "../../a.jpg"}]}, r"images\[0\]: the name '../../a.jpg' leads out of"),
        ({"images": [{"id": 7, "file_name": "/a.jpg"}]}, r"images\[0\]: the name '/a.jpg' leads out of"),
        ({"images": [7]}, r"images\[0\]: expected an object, got 7"),
        ({"images": {"id": 7}}, r"images: expected a list, got \{'id': 7\}"),
    ],
)
def test_files_that_do_not_fit_together_are_named(tmp_path, changes, message):
    with pytest.raises(LayoutError, match=message):
        read_coco(write(tmp_path / "a.json", **changes))


def test_a_missing_or_cut_file_is_named(tmp_path):
    with pytest.raises(LayoutError, match=r"a\.json: the annotation file is missing"):
        read_coco(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(LayoutError, match="cannot be read"):
        read_coco(tmp_path / "a.json")
