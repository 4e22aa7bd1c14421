"""Codings of masks, wherever they stand in an answer."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from lasagna.core.masks import RLEMask
from tests.helpers.served import need_server

need_server()

from lasagna.serving.answer_masks import with_coding  # noqa: E402


def test_masks_within_lists_of_an_entry_are_coded_too():
    mask = np.zeros((6, 8), dtype=bool)
    mask[2:4, 3:7] = True
    code = RLEMask.from_array(mask).to_json()
    entry = {"name": "mask", "mask": code, "parts": [{"mask": code, "score": 1.0}], "box": None}
    assert with_coding([entry], "rle") == [entry]
    assert with_coding([entry, {"mask": None}], "none")[1] == {"mask": None}
    [coded] = with_coding([entry], "png")
    assert coded["name"] == "mask"
    for one in (coded, coded["parts"][0]):
        assert np.array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(one["mask"])))), mask * 255)
    [coded] = with_coding([entry], "polygons")
    assert coded["mask"] == coded["parts"][0]["mask"]
    assert np.array_equal(RLEMask.from_json(coded["mask"], mask.shape).decode(), mask)
