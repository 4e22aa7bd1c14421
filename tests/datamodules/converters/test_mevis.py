"""MeViS: phrases about films, whose things may not be visible on a frame."""

import json

import numpy as np
import pytest

from lasagna.datamodules.converters import LayoutError
from lasagna.datamodules.converters.mevis import MeViS
from tests.helpers.brief_contract import BriefConverterContract
from tests.helpers.coco_files import SIZE, SQUARE, draw, rle
from tests.helpers.converter_contract import Expected
from tests.helpers.refer_files import BAND

NOTHING = np.zeros(SIZE, bool)


class TestMeViS(BriefConverterContract):
    def release(self, folder):
        part = folder / "valid_u"
        frames = [f"{number:05d}" for number in range(3)]
        images = [draw(part / "JPEGImages" / "film" / f"{frame}.jpg") for frame in frames]
        said = {
            "0": {"exp": "the bird that flies away", "obj_id": [0], "anno_id": [7]},
            "1": {"exp": "both", "obj_id": [0, 1], "anno_id": [7, 8]},
            "2": {"exp": "a cow that jumps", "obj_id": [], "anno_id": []},
        }
        films = {"film": {"vid_id": 1, "frames": frames, "expressions": said}}
        (part / "meta_expressions.json").write_text(json.dumps({"videos": films}))
        masks = {"7": [rle(SQUARE), rle(SQUARE), None], "8": [rle(BAND)] * 3}
        (part / "mask_dict.json").write_text(json.dumps(masks))
        (folder / "valid").mkdir()
        (folder / "valid" / "meta_expressions.json").write_text(json.dumps({"videos": {}}))
        names = list(said[number]["exp"] for number in said)
        pixels = {"film-00000": (SQUARE, SQUARE | BAND, NOTHING), "film-00002": (NOTHING, BAND, NOTHING)}
        return {
            "valid_u": {
                key: Expected(image, absent=set(), phrases=dict(zip(names, pixels[key], strict=True)))
                for key, image in (("film-00000", images[0]), ("film-00002", images[2]))
            }
        }

    def converter(self, folder):
        return MeViS(folder, shown=2)


def test_things_without_a_mask_for_each_frame_are_named(tmp_path):
    TestMeViS().release(tmp_path)
    (tmp_path / "valid_u" / "mask_dict.json").write_text(json.dumps({"7": [None] * 3, "8": [None]}))
    with pytest.raises(LayoutError, match=r"film: thing 8 has no mask for each of 3 frames in mask_dict\.json"):
        MeViS(tmp_path).splits()["valid_u"]
