"""Label Studio's setups, and regions decoded by an independent reader of its packing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.errors import QueryError
from lasagna.integrations.label_studio import LabellingSetup, pack_brush

SETUP = """<View>
  <Image name="img" value="$picture"/>
  {tag}
  <Choices name="rating" toName="img"><Choice value="good"/></Choices>
  <Choices name="absent" toName="img" choice="multiple"><Choice value="dog"/><Choice value="sea horse"/></Choices>
</View>"""
LABELS = '<{kind} name="what" toName="img"><Label value="dog"/><Label value="sea horse"/></{kind}>'
MASK = np.zeros((20, 30), dtype=bool)
MASK[2:9, 3:12], MASK[12:18, 20:30] = True, True


CUTS = """<View><Image name="img" value="$picture"/><BrushLabels name="what" toName="img"{all}>
<Label value="dog"{one}/><Label value="sea horse"/></BrushLabels></View>"""


def setup(kind="BrushLabels"):
    return LabellingSetup.read(SETUP.format(tag=LABELS.format(kind=kind)))


def answer(mask=MASK):
    code = RLEMask.from_array(mask).to_json()
    return {
        "entries": [
            {"name": "dog", "present": True, "score": 0.9, "mask": code},
            {"name": "sea horse", "present": False, "score": 0.1, "mask": None},
        ]
    }


def unpacked(packed):
    """Read the packing bit by bit, literal runs too."""
    bits, place = np.unpackbits(np.array(packed, dtype=np.uint8)), 0

    def read(count):
        nonlocal place
        place += count
        return int("".join(map(str, bits[place - count : place])), 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        run, length = read(1), 1 + read(sizes[read(2)])
        values += [read(word)] * length if run else [read(word) for _ in range(length)]
    return np.array(values)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_brushes_are_unpacked_to_the_same_pixels(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    values = unpacked(pack_brush(mask)).reshape(height, width, 4)
    assert (values == 255 * mask[..., None]).all()


def test_runs_longer_than_the_longest_size_are_divided():
    mask = np.zeros((200, 200), dtype=bool)
    mask[:, 100:] = True
    mask[:100] = False
    assert (unpacked(pack_brush(mask)).reshape(200, 200, 4)[..., 3] == 255 * mask).all()


def test_brushes_polygons_boxes_and_absent_names():
    brush, absent = setup().results(answer())
    assert (brush["from_name"], brush["to_name"], brush["type"], brush["score"]) == ("what", "img", "brushlabels", 0.9)
    assert (brush["original_width"], brush["original_height"]) == (30, 20)
    assert brush["value"]["brushlabels"] == ["dog"]
    assert (unpacked(brush["value"]["rle"]).reshape(20, 30, 4)[..., 3] == 255 * MASK).all()
    assert (absent["from_name"], absent["value"]) == ("absent", {"choices": ["sea horse"]})

    *polygons, _ = setup("PolygonLabels").results(answer())
    drawn = [(np.array(region["value"]["points"]) / 100 * (30, 20)).ravel().tolist() for region in polygons]
    assert (coco.decode(coco.merge(coco.frPyObjects(drawn, 20, 30))) == MASK).all()

    box, _ = setup("RectangleLabels").results(answer())
    assert box["value"].pop("rectanglelabels") == ["dog"]
    assert box["value"] == pytest.approx({"x": 10, "y": 10, "width": 90, "height": 80, "rotation": 0})


def test_a_mask_without_a_pixel_gives_no_region():
    assert [region["type"] for region in setup().results(answer(np.zeros_like(MASK)))] == ["choices"]


def test_an_absent_name_that_the_choices_lack_is_left_out():
    text = SETUP.format(tag=LABELS.format(kind="BrushLabels")).replace('<Choice value="sea horse"/>', "")
    assert [region["type"] for region in LabellingSetup.read(text).results(answer())] == ["brushlabels"]


def test_the_setup_names_the_field_and_the_labels():
    found = setup("PolygonLabels")
    assert (found.field, found.labels, found.choices) == ("picture", ("dog", "sea horse"), "absent")


@pytest.mark.parametrize(
    ("one", "cut", "thresholds", "threshold"),
    [("", "", (), None), ("0.7", "", (0.7, None), None), ("", "0.4", (), 0.4), (" .7", "1", (0.7, None), 1.0)],
)
def test_labels_and_their_tag_have_thresholds(one, cut, thresholds, threshold):
    texts = [f' model_score_threshold="{text}"' if text else "" for text in (one, cut)]
    found = LabellingSetup.read(CUTS.format(one=texts[0], all=texts[1]))
    assert (found.query(CATEGORY_LIST).thresholds, found.threshold) == (thresholds, threshold)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            CUTS.format(one=' model_score_threshold="70%"', all=""),
            "Label 'dog' has the model_score_threshold '70%'; write a number from 0 to 1",
        ),
        (
            CUTS.format(one="", all=' model_score_threshold="nan"'),
            "BrushLabels 'what' has the model_score_threshold 'nan'",
        ),
        ('<View><BrushLabels name="b" toName="x"><Label value="a"/></BrushLabels></View>', "it has no Image with"),
        ("<View", "it is not XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "it declares a document type or entities"),
        ('<View><Image name="i" value="$x"/></View>', "it has no Image with one of BrushLabels"),
        (SETUP.format(tag='<BrushLabels name="b" toName="img"/>'), "BrushLabels has no labels"),
    ],
)
def test_setups_of_no_use(text, fault):
    with pytest.raises(QueryError, match=f"label_config: .*{fault}"):
        LabellingSetup.read(text)
