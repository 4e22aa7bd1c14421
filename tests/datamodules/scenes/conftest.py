"""Scenes shared by the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.datamodules.scenes import Scene, draw_scene


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng(seed)) for seed in range(500)]
