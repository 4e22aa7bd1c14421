"""Twins of drawn scenes, in which one thing is exchanged for a thing of another category."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from lasagna.core.record import Record
from lasagna.core.seeding import generator
from lasagna.datamodules.scenes.backdrop import Backdrop
from lasagna.datamodules.scenes.draw import draw_twins
from lasagna.datamodules.scenes.layout import Plan, exchangeable
from lasagna.datamodules.scenes.scene import COLOURED, COLOURS, Scene, members, pick
from lasagna.datamodules.scenes.settings import VERSION, SceneSettings
from lasagna.datamodules.scenes.writer import mapped_record
from lasagna.datamodules.twins import Twin


@dataclass(frozen=True)
class DrawnTwins:
    """Draws the scenes of a split once more, each with another thing in the place of one.

    The twin has the same landscape, light, grain and other things; the new thing has the old one's place, size and
    colour. Which thing is exchanged for which depends on nothing but the random generator.

    Args:
        settings: Settings of the scenes.
    """

    settings: SceneSettings
    way = "drawn"

    @classmethod
    def of_settings(cls, stored: Mapping[str, Any]) -> Self | None:
        """Return the twins of the scenes that were written with settings; None if they cannot be drawn again.

        Args:
            stored: The settings as they stand in the manifest of shards.
        """
        try:
            settings = SceneSettings(**stored)
        except TypeError:
            return None
        return cls(settings) if settings.version == VERSION else None

    def __call__(self, record: Record, rng: np.random.Generator) -> Twin | None:
        """Return the twin of a scene; None if the record is no scene of the split, or no thing can be exchanged.

        Args:
            record: The scene's record.
            rng: The random generator of the record.
        """
        number = re.fullmatch(rf"{re.escape(self.settings.split)}-(\d+)", record.key)
        if number is None or record.size != (self.settings.size,) * 2:
            return None
        index, exchange = int(number[1]), _Exchange(rng)
        drawing = generator(self.settings.seed, 0, f"{self.settings.split}/{index}")
        scene, twin = draw_twins(drawing, self.settings.size, self.settings.hardness, exchange)
        if twin is None:
            return None
        before, after = (_name(one, exchange.place, self.settings.long_names) for one in (scene, twin))
        drawn = mapped_record(twin, self.settings, index)
        known = (before in record.category_masks(), after in record.category_masks(), before in drawn.category_masks())
        # with long names, a thing may have a twin of its own name, or change its side
        return Twin(replace(drawn, key=record.key), before, after) if known == (True, False, False) else None


class _Exchange:
    """Yields the things of possible twins in random order, and keeps the place of the last exchange."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.place = 0

    def __call__(self, plans: Sequence[Plan], land: Backdrop) -> Iterator[list[Plan]]:
        names = [plan.name for plan in plans]
        possible = [
            (place, name)
            for place, plan in enumerate(plans)
            for name in exchangeable(plan, land)
            if names.count(plan.name) == 1 and name not in names
        ]
        for choice in self.rng.permutation(len(possible)).tolist():
            self.place, name = possible[choice]
            plan = plans[self.place]
            colour = (plan.colour or pick(self.rng, COLOURS)) if name in COLOURED else None
            yield [*plans[: self.place], replace(plan, name=name, colour=colour), *plans[self.place + 1 :]]


def _name(scene: Scene, place: int, long_names: bool) -> str:
    return next(name for name, places in members(scene, long_names).items() if place in places)
