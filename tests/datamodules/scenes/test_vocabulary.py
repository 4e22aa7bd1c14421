"""Other vocabularies change names and what is annotated, and nothing of the pictures."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.datamodules import SceneWriter
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.writer import scene_record
from lasagna.errors import ConfigError

COARSE = {"oak": "tree", "pine": "tree", "boat": "ship"}


def test_categories_that_share_a_name_share_masks_and_objects():
    plain, coarse = (SceneSettings(3, "train", 1, names=names) for names in ({}, COARSE))
    seen = set()
    for index in range(30):
        one, other = scene_record(plain, index), scene_record(coarse, index)
        assert other.image_bytes == one.image_bytes
        own, found = one.category_masks(), other.category_masks()
        expected: dict[str, np.ndarray] = {}
        for name, mask in own.items():
            said = COARSE.get(name, name)
            expected[said] = mask.decode() | expected.get(said, np.zeros_like(mask.decode()))
        assert {name: mask.decode().tobytes() for name, mask in found.items()} == {
            name: mask.tobytes() for name, mask in expected.items()
        }
        counts = {name: len(region.masks or ()) for name, region in other.objects().items()}
        assert sum(counts.values()) == sum(len(region.masks or ()) for region in one.objects().values())
        seen |= set(own) & set(COARSE)
    assert seen == set(COARSE)
    assert "tree" in other.manifest.categories and not {"oak", "pine"} & set(other.manifest.categories)


def test_unannotated_names_are_gone_on_their_share_of_the_scenes_and_their_pixels_belong_to_nothing():
    plain = SceneSettings(3, "train", 1, names=COARSE)
    partial = SceneSettings(3, "train", 1, names=COARSE, unannotated={"sky": 0.5, "ship": 1.0})
    kept = []
    for index in range(40):
        one, other = scene_record(plain, index), scene_record(partial, index)
        gone = one.category_masks().keys() - other.category_masks().keys()
        assert gone <= {"sky", "ship"} and "ship" not in other.category_masks()
        kept += ["sky" not in gone] * ("sky" in one.category_masks())
        assert other.objects().keys() == one.objects().keys() - gone
        ignored = [None if record.ignored() is None else record.ignored().decode().tobytes() for record in (one, other)]
        assert ignored[0] == ignored[1]
    assert 0.2 < np.mean(kept) < 0.8 and len(kept) > 10


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"names": {"oak": "tree, tall"}}, "`names`: .*','"),
        ({"names": {"oak": "Pine"}}, "`names`: categories name 'pine' more than once"),
        ({"names": {"elm": "tree"}}, "`names` has 'elm', which is none of the categories sky"),
        ({"names": {"house": "building", "brick wall": "building"}}, "`names` calls both stuff and things 'building'"),
        ({"names": COARSE, "unannotated": {"boat": 1}}, "`unannotated` has 'boat', which is none of the names sky"),
        ({"unannotated": {"boat": 2}}, r"`unannotated` of 'boat' must be in \[0, 1\], got 2"),
        ({"names": COARSE, "long_names": True}, "go with the 24 categories; leave `long_names` out"),
    ],
)
def test_wrong_names_are_refused(tmp_path, options, told):
    with pytest.raises(ConfigError, match=told):
        SceneWriter(str(tmp_path), **options)
