"""Hard scenes have twins, and companions that are missing now and then; others stay as they are."""

from __future__ import annotations

import numpy as np

from lasagna.datamodules.scenes.hardness import COMPANIONS, Hardness, Role
from lasagna.datamodules.scenes.scene import THINGS
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.writer import scene_record


def test_hard_scenes_have_twins_on_two_sides_and_companions_of_the_same_colour_and_side():
    settings = SceneSettings(0, "train", 1, long_names=True, together=0.8, twins=0.7)
    shown = [[tuple(name.split()) for name in scene_record(settings, index).objects()] for index in range(60)]
    coloured = [[name for name in names if len(name) == 3] for names in shown]
    crossed = [any(a[0] != b[0] and a[1] != b[1] and a[2] == b[2] for a in names for b in names) for names in coloured]
    assert 0.5 < np.mean(crossed) < 0.9
    company = [
        (side, colour, COMPANIONS[name]) in names
        for names in coloured
        for side, colour, name in names
        if name in COMPANIONS
    ]
    assert 0.3 < np.mean(company) < 0.9
    assert settings.stored() == SceneSettings(0, "train", 1, long_names=True).stored() | {"together": 0.8, "twins": 0.7}


def test_roles_are_recast_only_as_far_as_asked_and_possible():
    roles = [Role("oak", None), Role("house", "red"), Role("house", "blue")]
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert Hardness().recast(rng, roles, THINGS) == roles and rng.bit_generator.state == before
    oak, house, fence, second = Hardness(together=1).recast(rng, roles, THINGS)
    assert (oak, second) == (roles[0], roles[2]) and house.side == fence.side is not None
    assert (house.name, fence.name, house.colour, fence.colour) == ("house", "fence", "red", "red")
    assert Hardness(together=1).recast(rng, roles, ("oak", "house")) == roles, "no fence fits"
    one, two, *rest = Hardness(twins=1).recast(rng, roles, ("oak", "house"))
    assert (one.name, one.side, two.name, two.side, rest) == ("house", 0, "house", 1, roles[:1])
    assert one.colour != two.colour
