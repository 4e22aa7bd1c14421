import base64
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import convert
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.labelme import LabelMe, draw_shape
from lasagna.errors import RecordError
from tests.helpers.converter_contract import ConverterContract, Expected

SIZE = (20, 30)
ROWS, COLUMNS = np.indices(SIZE)
BUFFER = BytesIO()
Image.fromarray(np.eye(8, dtype=bool)).convert("L").save(BUFFER, "JPEG")
JPEG = base64.b64encode(BUFFER.getvalue()).decode()


def picture(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    size = options.pop("size", SIZE)
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path, **options)
    return path


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}, **more}


def save(folder, stem, shapes, image=None, **more):
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image or f"{stem}.jpg"}
    (folder / f"{stem}.json").write_text(
        json.dumps(content | {"imageData": None, "imageHeight": 20, "imageWidth": 30} | more)
    )


def rectangle(label, left, top, right, bottom):
    return shape(label, [[left, top], [right, bottom]], "rectangle")


def inside(left, top, right, bottom):
    return (left <= COLUMNS) & (right >= COLUMNS) & (top <= ROWS) & (bottom >= ROWS)


class TestLabelMeContract(ConverterContract):
    def release(self, folder):
        one, two = picture(folder / "train" / "one.jpg"), picture(folder / "val" / "two.jpg")
        corners = [[2, 3], [9, 3], [9, 8], [2, 8]]
        shapes = [
            shape("traffic_light", corners),
            rectangle("traffic_light", 12, 3, 15, 8),
            rectangle("traffic_light", 17, 3, 18, 8) | {"group_id": 2},
            rectangle("traffic_light", 17, 12, 18, 15) | {"group_id": 2},
            rectangle("__ignore__", 20, 0, 29, 4),
        ]
        save(folder / "train", "one", [*shapes, shape("way", [[0, 0], [9, 9]], "linestrip")])
        save(folder / "val", "two", [rectangle("car", 9, 8, 1, 2)])
        lights = [inside(2, 3, 9, 8), inside(12, 3, 15, 8), inside(17, 3, 18, 8) | inside(17, 12, 18, 15)]
        one = Expected(one, {"traffic light": np.any(lights, 0)}, absent=set(), unclear={"way"})
        one.ignored, one.objects = inside(20, 0, 29, 4), {"traffic light": (lights, [])}
        car = inside(1, 2, 9, 8)
        return {"train": {"one": one}, "val": {"two": Expected(two, {"car": car}, set(), objects={"car": ([car], [])})}}

    def converter(self, folder):
        return LabelMe(folder)


def reading(folder, **settings):
    return LabelMe(folder, **settings).splits()["train"].reading(0)


def mask_of(folder, *shapes):
    picture(folder / "a.jpg")
    save(folder, "a", shapes)
    return reading(folder).record.category_masks()["x"].decode()


def test_circles_and_pasted_masks(tmp_path):
    circle = mask_of(tmp_path, shape("x", [[15, 10], [15, 16]], "circle"))
    assert circle[10, 9] and circle[10, 21] and circle[4, 15] and not circle[4, 9]
    assert circle.sum() == pytest.approx(np.pi * 6.5**2, rel=0.05)
    buffer = BytesIO()
    Image.fromarray(np.eye(4, dtype=bool)).save(buffer, "PNG")
    pasted = mask_of(
        tmp_path, shape("x", [[28, 5], [31, 8]], "mask", mask=base64.b64encode(buffer.getvalue()).decode())
    )
    assert np.argwhere(pasted).tolist() == [[5, 28], [6, 29]]


def test_what_has_no_inside_or_no_pixel_is_counted(tmp_path):
    picture(tmp_path / "a.jpg")
    lines = [shape("x", [[1, 1], [5, 5]], kind) for kind in ("line", "linestrip", "points")]
    save(tmp_path, "a", [*lines, shape("x", [[1, 1]], "point"), rectangle("x", 50, 50, 60, 60)])
    found = reading(tmp_path)
    assert not found.record.regions
    assert [part.reason for part in found.left_out][-2:] == ["point, which has no inside", "shape without a pixel"]
    assert len(found.left_out) == 5
    assert found.record.unclear == ("x",)


def test_labels_that_differ_by_case_are_one_category(tmp_path):
    picture(tmp_path / "a.jpg")
    save(tmp_path, "a", [rectangle("Car", 1, 1, 5, 5), rectangle("car", 10, 1, 15, 5)])
    record = reading(tmp_path).record
    assert (record.manifest.categories, record.manifest.aliases) == (("Car",), {"Car": ("car",)})
    assert np.array_equal(record.category_masks()["Car"].decode(), inside(1, 1, 5, 5) | inside(10, 1, 15, 5))


def test_the_image_is_the_file_else_what_the_json_holds(tmp_path):
    data = picture(tmp_path / "images" / "b.jpg").read_bytes()
    (tmp_path / "json").mkdir()
    save(tmp_path / "json", "a", [], image="..\\images\\b.jpg", imageData="?")
    assert reading(tmp_path / "json").record.image_bytes == data
    save(tmp_path / "json", "a", [], image="gone.jpg", imageData=base64.b64encode(data).decode())
    assert reading(tmp_path / "json").record.image_bytes == data


@pytest.mark.parametrize("name", ["../../b.jpg", "/b.jpg", "C:\\b.jpg", "images/../../../b.jpg"])
def test_an_image_that_is_elsewhere_is_not_taken(tmp_path, name):
    picture(tmp_path / "b.jpg")
    data = picture(tmp_path / "c.jpg", size=(20, 30), quality=20).read_bytes()
    save(tmp_path / "mine" / "json", "a", [], image=name)
    with pytest.raises(LayoutError, match=r"a\.json: imagePath: .* leads out of .*; put the images there"):
        LabelMe(tmp_path / "mine" / "json").splits()
    save(tmp_path / "mine" / "json", "a", [], image=name, imageData=base64.b64encode(data).decode())
    assert reading(tmp_path / "mine" / "json").record.image_bytes == data


def test_a_photograph_on_its_side_is_stored_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "a.jpg", size=(30, 20), exif=exif)
    save(tmp_path, "a", [rectangle("x", 20, 2, 25, 5)])
    record = reading(tmp_path).record
    assert record.size == record.image().shape[:2] == SIZE


def test_absence_is_known_where_it_is_said_and_labels_of_one_name_are_its_aliases(tmp_path):
    picture(tmp_path / "a.jpg")
    save(tmp_path, "a", [rectangle("street_lamp", 1, 1, 5, 5), rectangle("street lamp", 9, 9, 12, 12)])
    manifest = reading(tmp_path, unannotated="absent").record.manifest
    assert (manifest.unannotated, manifest.categories) == ("absent", ("street lamp",))
    assert manifest.aliases == {"street lamp": ("street_lamp",)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shapes": None}, r"a\.json: not a LabelMe file"),
        ({"shapes": [{"label": 5, "points": []}]}, r"a\.json: not a LabelMe file"),
        ({"shapes": [shape("x", [[1, 1], [2, 2]])]}, r"a\.json: shape 'x': a polygon that cannot be drawn \(2 points"),
        ({"shapes": [shape("x", [[1, 1], [2, 2]], "mask", mask="AAAA")]}, "a mask that cannot be drawn"),
        (
            {"shapes": [shape("x", [[1, 1], [9, 9]], "mask", mask=JPEG)]},
            "masks and labels stored as JPEG have wrong pix",
        ),
        ({"imageHeight": 25}, r"drawn on an image of size \(25, 30\), but the image has size \(20, 30\)"),
        ({"imagePath": "gone.jpg"}, r"gone\.jpg: the file cannot be read"),
        ({"imagePath": "gone.jpg", "imageData": "AAAA"}, r"a\.json: the image cannot be decoded"),
    ],
)
def test_faults_name_the_file(tmp_path, changes, message):
    picture(tmp_path / "a.jpg")
    save(tmp_path, "a", **{"shapes": []} | changes)
    with pytest.raises(RecordError, match=message):
        reading(tmp_path)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(LayoutError, match="there is no LabelMe file"):
        LabelMe(tmp_path).splits()


def test_images_that_are_not_there_are_named_before_anything_is_written(tmp_path):
    picture(tmp_path / "mine" / "a.jpg")
    for stem, name in (("a", "a.jpg"), ("b", "gone.jpg")):
        save(tmp_path / "mine", stem, [], imagePath=name)
    with pytest.raises(LayoutError, match=r"1 of the 2 files that the split 'train' needs.*gone\.jpg"):
        convert(LabelMe(tmp_path / "mine"), tmp_path / "shards", processes=0)
    assert not (tmp_path / "shards").exists()


def test_points_in_fractions_are_named_with_the_way_out():
    with pytest.raises(RecordError, match=r"shape 'cup': its points are fractions .*; multiply x by the width 30"):
        draw_shape(shape("cup", [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]), (20, 30))
