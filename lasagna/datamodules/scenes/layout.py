"""Choose the things of a scene and their places."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.hardness import Hardness, Role
from lasagna.datamodules.scenes.scene import COLOURED, COLOURS, SINGLE, THINGS, pick

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from lasagna.datamodules.scenes.backdrop import Backdrop, Zone

# Shares of scenes with one, two, ... five things.
COUNT_SHARES = (0.1, 0.2, 0.25, 0.25, 0.2)
MOST_OF_A_KIND = 4
SMALLEST, LARGEST = 0.1, 0.17
TRIES = 20
AIRBORNE = ("sun", "moon", "cloud", "bird", "kite", "balloon")

_ZONES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("sun", "moon", "cloud"), ("heaven",)),
    **dict.fromkeys(("bird", "kite", "balloon"), ("air",)),
    **dict.fromkeys(("oak", "pine", "flower", "mushroom", "house", "fence"), ("soil",)),
    **dict.fromkeys(("ball", "umbrella"), ("ground",)),
    "car": ("road", "ground"),
    "boat": ("sea",),
}
# Some things fit few landscapes or lights; weights make all things about equally frequent.
_WEIGHTS = {"boat": 2.6, "sun": 2.2, "moon": 3.6, "house": 1.4}


@dataclass(frozen=True)
class Plan:
    """A thing to be drawn.

    Args:
        name: Category, one of ``THINGS``.
        colour: One of ``COLOURS`` or None.
        x: Column of its middle, as a share of the width.
        y: Row of its middle, as a share of the height.
        radius: Half of its size, as a share of the width.
        mirrored: Whether it faces left.
        vary: Variation of its sprite, 0 to 1.
    """

    name: str
    colour: str | None
    x: float
    y: float
    radius: float
    mirrored: bool
    vary: float

    def crowds(self, other: Plan) -> bool:
        """Return whether two things would overlap too much.

        Args:
            other: A thing that is already placed.
        """
        away = (self.x - other.x) ** 2 + (self.y - other.y) ** 2
        return away < (0.94 * (self.radius + other.radius)) ** 2


def plan_things(rng: np.random.Generator, land: Backdrop, hardness: Hardness) -> list[Plan]:
    """Choose and place 1 to 5 things, or one more in hard scenes, back to front.

    Things become smaller if there is little room; a thing that does not fit after ``TRIES`` attempts is left out.

    Args:
        rng: Random generator of all choices.
        land: The landscape that they are placed in.
        hardness: How hard their presence is to tell.
    """
    plans: list[Plan] = []
    possible = _possible(land)
    for role in hardness.recast(rng, _cast(rng, possible), possible):
        for k in range(TRIES):
            plan = _place(rng, role, land, most=LARGEST - (LARGEST - SMALLEST) * k / TRIES)
            if not any(plan.crowds(other) for other in plans):
                plans.append(plan)
                break
    return sorted(plans, key=lambda p: (p.name not in AIRBORNE, p.y + p.radius))


def exchangeable(plan: Plan, land: Backdrop) -> list[str]:
    """Return the names of the other things that may stand in the place of one.

    Args:
        plan: The thing.
        land: The landscape.
    """
    zone = _zone(plan.name, land)
    return [name for name in _possible(land) if name != plan.name and _zone(name, land) == zone]


def _possible(land: Backdrop) -> list[str]:
    """Return the categories of things that fit a landscape."""
    unlit = {"day": "moon", "night": "sun"}.get(land.light)
    return [name for name in THINGS if name != unlit and _zone(name, land)]


def _cast(rng: np.random.Generator, names: Sequence[str]) -> list[Role]:
    """Return the name and colour of each thing."""
    weights = [_WEIGHTS.get(name, 1.0) for name in names]
    count = int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES)) + 1
    order = rng.choice(names, len(names), replace=False, p=[w / sum(weights) for w in weights]).tolist()
    copies = int(rng.integers(2, MOST_OF_A_KIND + 1)) if rng.random() < 0.6 else 1
    repeated = next(name for name in order if name not in SINGLE)
    chosen = [repeated] * min(copies, count) + [name for name in order if name != repeated]
    alike = rng.random() < 0.25
    colours = [None if alike and k else pick(rng, COLOURS) for k in range(count)]
    return [
        Role(name, (colours[k] or colours[0]) if name in COLOURED else None) for k, name in enumerate(chosen[:count])
    ]


def _zone(name: str, land: Backdrop) -> Zone | None:
    return next((land.zones[zone] for zone in _ZONES[name] if zone in land.zones), None)


def _half(zone: Zone, side: int) -> Zone:
    """Return the part of a zone on one side, away from the middle; all of it if that side has none."""
    part = replace(zone, left=max(zone.left, 0.56)) if side else replace(zone, right=min(zone.right, 0.44))
    return part if part.left <= part.right else zone


def _place(rng: np.random.Generator, role: Role, land: Backdrop, *, most: float) -> Plan:
    zone = _zone(role.name, land)
    assert zone is not None
    zone = zone if role.side is None else _half(zone, role.side)
    radius = rng.uniform(SMALLEST, most)
    x, y = rng.uniform(zone.left, zone.right), rng.uniform(zone.top, zone.bottom)
    if role.name not in AIRBORNE:
        y -= radius
    return Plan(role.name, role.colour, x, y, radius, bool(rng.random() < 0.5), rng.random())
