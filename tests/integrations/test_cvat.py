"""The function for CVAT, through the classes of its SDK that check and map what a function returns."""

import logging

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cvat_sdk")

from cvat_sdk import auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.auto_annotation.driver import _AnnotationMapper, _DetectionFunctionContextImpl
from cvat_sdk.masks import decode_mask
from pycocotools import mask as coco

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.errors import QueryError
from lasagna.integrations.cvat import AssistantFunction, create
from tests.helpers.assistants import random_assistant

SIZE = 20, 30
MASK = np.zeros(SIZE, dtype=bool)
MASK[2:9, 3:12], MASK[12:18, 20:30] = True, True
IMAGE = Image.new("RGB", SIZE[::-1])


@pytest.fixture
def function(monkeypatch):
    assistant = random_assistant()
    entries = AnsweredEntry("dog", True, 0.9, MASK), AnsweredEntry("cat", False, 0.2)

    def answers(image, queries):
        assert image.shape == (*SIZE, 3)
        function.seen, function.image = queries[0].thresholds, image
        return [Answer("", entries)]

    monkeypatch.setattr(assistant, "answers", answers)
    function = AssistantFunction(assistant, ["cat", "dog"], absent=True, thresholds={"dog": 0.4})
    return function


def mapped(function, **context):
    """Let CVAT's driver check the annotations of an image, and give them the numbers of the labels of a task."""
    labels = [(70, "dog", "mask"), (71, "cat", "mask"), (72, "absent: dog", "tag"), (73, "absent: cat", "tag")]
    if context.get("conv_mask_to_poly"):
        labels = [(number, name, "polygon" if kind == "mask" else kind) for number, name, kind in labels]
    there = [
        models.Label(id=number, name=name, type=kind, attributes=[], sublabels=[]) for number, name, kind in labels
    ]
    mapper = _AnnotationMapper(
        logging.getLogger(),
        function.spec.labels,
        there,
        allow_unmatched_labels=False,
        conv_mask_to_poly=context.get("conv_mask_to_poly", False),
    )
    assert isinstance(function.spec, cvataa.DetectionFunctionSpec)
    found = function.detect(_DetectionFunctionContextImpl(frame_name="a.png", **context), IMAGE)
    return mapper.validate_and_remap(found, 5)


def test_masks_and_tags_pass_the_driver(function):
    tags, [shape] = mapped(function)
    assert (shape.label_id, shape.frame, shape.type.value) == (70, 5, "mask")
    assert (decode_mask(shape.points, image_width=SIZE[1], image_height=SIZE[0]) == MASK).all()
    assert [tag.label_id for tag in tags] == [73]


def test_polygons_where_the_caller_wants_them(function):
    _, shapes = mapped(function, conv_mask_to_poly=True)
    assert [(shape.label_id, shape.type.value, shape.group) for shape in shapes] == [(70, "polygon", 1)] * 2
    drawn = coco.decode(coco.merge(coco.frPyObjects([shape.points for shape in shapes], *SIZE)))
    assert (drawn == MASK).all()


def test_the_threshold_of_the_caller_holds_for_one_call(function):
    mapped(function, conf_threshold=0.83)
    assert function.seen == (0.83, 0.4)
    mapped(function)
    assert function.seen == (None, 0.4)


def test_what_is_transparent_is_white_as_elsewhere(function, monkeypatch):
    monkeypatch.setitem(globals(), "IMAGE", Image.new("RGBA", SIZE[::-1]))
    mapped(function)
    assert function.image.min() == 255


def test_the_packaged_assistant_is_created_from_texts():
    function = create(names="sky, dog", threshold=0.6, thresholds="{dog: 0.7}")
    assert [label.name for label in function.spec.labels] == ["sky", "dog"]
    assert (function.assistant.presence_threshold, function.query.thresholds) == (0.6, (None, 0.7))
    function.detect(_DetectionFunctionContextImpl(frame_name="a.png"), Image.new("RGB", (96, 96)))


def test_names_of_no_use():
    with pytest.raises(QueryError, match="names: there is none"):
        AssistantFunction(random_assistant(), [])
    with pytest.raises(QueryError, match="dog"):
        AssistantFunction(random_assistant(), ["dog", "dog"])
    with pytest.raises(QueryError, match=r"thresholds: 'cat' is none of the names that are decided on \('dog'\)"):
        create(names="dog", thresholds="{cat: 0.7}")
