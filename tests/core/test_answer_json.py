import numpy as np
import pytest

from lasagna.core.answer import AnsweredEntry
from lasagna.core.answer_json import entry_json
from lasagna.core.masks import RLEMask


@pytest.mark.parametrize(("pixels", "box"), [([], None), ([(1, 2)], [2.0, 1.0, 1.0, 1.0])], ids=["empty", "one pixel"])
def test_an_empty_mask_has_no_box(pixels, box):
    mask = np.zeros((4, 6), dtype=bool)
    for place in pixels:
        mask[place] = True
    written = entry_json(AnsweredEntry("sky", True, 0.9, mask))
    assert (written["box"], written["empty"]) == (box, box is None)
    assert not entry_json(AnsweredEntry("sky", False, 0.1))["empty"]
    assert written["mask"]["size"] == [4, 6] and "objects" not in written


def test_objects_are_written_with_their_boxes_and_scores():
    one, two = np.zeros((2, 4, 6), dtype=bool)
    one[1, 1:3], two[2:, 5] = True, True
    written = entry_json(AnsweredEntry("bird", True, 0.9, masks=(one, two), scores=(0.8, 0.1234567)))
    assert [(part["box"], part["score"]) for part in written["objects"]] == [
        ([1.0, 1.0, 2.0, 1.0], 0.8),
        ([5.0, 2.0, 1.0, 2.0], 0.123457),
    ]
    assert written["mask"] == RLEMask.from_array(one | two).to_json()
    assert len(entry_json(AnsweredEntry("bird", True, 0.9, masks=(one,), scores=(0.8,)))["objects"]) == 1
