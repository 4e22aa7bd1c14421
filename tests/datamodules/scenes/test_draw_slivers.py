"""What is hardly seen: things are left out, stuff becomes void."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lasagna.datamodules.scenes import STUFF, VOID
from lasagna.datamodules.scenes.backdrop import paint_backdrop
from lasagna.datamodules.scenes.draw import _assemble, _draw_visible, least_visible
from lasagna.datamodules.scenes.layout import Plan


def plan(name: str, radius: float) -> Plan:
    return Plan(name, "red", 0.5, 0.5, radius, False, 0.5)


def test_a_hidden_thing_is_left_out() -> None:
    land = paint_backdrop(np.random.default_rng(0), 96, "day")
    alone, codes, plans = _draw_visible(land, [plan("ball", 0.3)], 96)
    both, again, kept = _draw_visible(land, [plan("mushroom", 0.1), plan("ball", 0.3)], 96)
    assert kept == plans
    assert np.array_equal(codes, again)
    assert alone.picture.tobytes() == both.picture.tobytes()


def test_a_sliver_of_stuff_is_void() -> None:
    codes = np.full((96, 96), STUFF.index("sea"), dtype=np.uint8)
    codes[0, : least_visible(96) - 1] = STUFF.index("sky")
    codes[50, : least_visible(96)] = STUFF.index("sand")
    scene = _assemble(np.asarray(Image.new("RGB", (96, 96))), codes, [], "day")
    assert scene.present == ("sand", "sea")
    assert (scene.labels == VOID).sum() == least_visible(96) - 1
