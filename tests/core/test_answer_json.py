import numpy as np
import pytest

from lasagna.core.answer_json import entry_json
from lasagna.core.dialogue import AnsweredEntry


@pytest.mark.parametrize(("pixels", "box"), [([], None), ([(1, 2)], [2.0, 1.0, 1.0, 1.0])], ids=["empty", "one pixel"])
def test_an_empty_mask_has_no_box(pixels, box):
    mask = np.zeros((4, 6), dtype=bool)
    for place in pixels:
        mask[place] = True
    written = entry_json(AnsweredEntry("sky", True, 0.9, mask))
    assert (written["box"], written["empty"]) == (box, box is None)
    assert not entry_json(AnsweredEntry("sky", False, 0.1))["empty"]
    assert written["mask"]["size"] == [4, 6]
