"""Points, boxes and masks of the original image, in the input of an encoder."""

import numpy as np
import pytest
import torch
from transformers import SamImageProcessor as SamImages
from transformers import SamProcessor

from lasagna.core.geometry import Geometry
from lasagna.core.masks import RLEMask
from lasagna.core.visual_prompt import SURE, VisualPrompt
from lasagna.errors import QueryError
from lasagna.modules import SamImageProcessor

SIZE = (20, 40)
PADDED = Geometry(SIZE, (32, 64), (64, 64))
SQUASHED = Geometry(SIZE, (80, 40), (80, 40))
CROPPED = Geometry(SIZE, (40, 40), (40, 40), seen=(0, 10, 20, 20))


@pytest.mark.parametrize(
    ("geometry", "point", "box"),
    [
        (PADDED, (16.0, 8.0), [16.0, 8.0, 48.0, 24.0]),
        (SQUASHED, (10.0, 20.0), [10.0, 20.0, 30.0, 60.0]),
        (CROPPED, (0.0, 10.0), [0.0, 10.0, 40.0, 30.0]),
    ],
)
def test_points_and_boxes_are_where_the_pixels_of_the_image_went(geometry, point, box):
    [fitted] = VisualPrompt([(10, 5), (20, 6, "negative")], [(10, 5, 20, 10)]).fit(geometry)
    assert tuple(fitted.points[0].tolist()) == point
    assert fitted.positive.tolist() == [True, False]
    assert fitted.box.tolist() == box


@pytest.mark.parametrize("size", [(375, 500), (1025, 2048), (61, 83)])
def test_points_are_scaled_as_by_the_processor_of_sam(size):
    points = [(0, 0), (size[1] - 1, size[0] - 1), (17.5, 40)]
    scaled = SamProcessor(SamImages())._normalize_coordinates(1024, np.array(points, float), size)
    [fitted] = VisualPrompt(points).fit(SamImageProcessor(1024).geometry(size))
    assert fitted.points.numpy() == pytest.approx(np.asarray(scaled), rel=1e-6)


@pytest.mark.parametrize("geometry", [PADDED, SQUASHED, CROPPED])
def test_a_mask_covers_the_pixels_of_the_image_and_none_of_the_padding(geometry):
    mask = np.zeros(SIZE, bool)
    mask[:, :20] = True
    for given in (mask, RLEMask.from_array(mask), mask.astype(np.float16), 255 * mask.astype(np.uint8)):
        [fitted] = VisualPrompt(mask=given).fit(geometry)
        assert fitted.mask.shape == geometry.padded
        height, width = geometry.resized
        assert (fitted.mask[:height, : width // 2 - 4] == SURE).all()
        assert (fitted.mask[:height, width // 2 + 4 :] == -SURE).all()
        assert (fitted.mask[height:] == -SURE).all()
        assert len(fitted.points) == 0


def test_several_boxes_are_prompts_of_their_own_and_what_is_cropped_is_cut():
    first, second = VisualPrompt([(15, 5)], [(0, 0, 15, 20), (12, 0, 10, 10)]).fit(CROPPED)
    assert torch.equal(first.points, second.points)
    assert first.box.tolist() == [0, 0, 10, 40]
    assert second.box.tolist() == [4, 0, 24, 20]


@pytest.mark.parametrize(
    ("visual", "message"),
    [
        ({}, "visual: it is empty; give points, boxes or a mask"),
        ({"points": [(1, 2, "maybe")]}, r"points: the label 'maybe' of \(1, 2\) is neither of \('positive', 'neg"),
        ({"points": [(1,)]}, r"points: expected \(x, y\) or \(x, y, label\), got \[1\]"),
        ({"points": [(1, float("nan"))]}, "points: expected"),
        ({"points": (10, 20)}, r"points: expected a list of \(x, y\) or \(x, y, label\), got \(10, 20\)"),
        ({"points": 10}, "points: expected a list of"),
        ({"points": [None]}, "points: expected a list of"),
        ({"boxes": (1, 2, 3, 4)}, r"boxes: expected a list of boxes .* got \(1, 2, 3, 4\)"),
        ({"mask": np.full((20, 40), -3.0)}, r"mask: expected bool or probabilities in \[0, 1\], got values from -3 to"),
        ({"mask": np.full((20, 40), np.nan)}, "mask: expected bool or probabilities"),
        ({"points": [(40, 5)]}, r"\(40, 5\) lies outside the image; x is from 0 to 39 and y from 0 to 19"),
        ({"points": [(3, -1)]}, r"\(3, -1\) lies outside"),
        ({"boxes": [(1, 2, 3)]}, "boxes: expected left, top, width and height, both above 0"),
        ({"boxes": [(1, 2, 3, 0)]}, "boxes: expected left"),
        ({"boxes": [(30, 2, 20, 5)]}, r"boxes: \[30, 2, 20, 5\] .* reaches beyond the image of 40 x 20 pixels"),
        ({"mask": np.ones((40, 20))}, r"mask: its height and width are \(40, 20\), those of the image \(20, 40\)"),
        ({"points": [(5, 5)]}, r"points: \(5, 5\) lies where the image is cropped"),
        ({"boxes": [(0, 0, 9, 9)]}, "boxes: one lies where the image is cropped"),
    ],
)
def test_what_lies_elsewhere_is_refused(visual, message):
    with pytest.raises(QueryError, match=message):
        VisualPrompt(**visual).fit(CROPPED)
