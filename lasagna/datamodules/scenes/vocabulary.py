"""The names that a scene can hold: categories, colours, lights."""

from __future__ import annotations

STUFF: tuple[str, ...] = ("sky", "brick wall", "grass", "sand", "snow", "sea", "mountain", "road")
THINGS: tuple[str, ...] = (
    "sun",
    "moon",
    "cloud",
    "oak",
    "pine",
    "house",
    "car",
    "boat",
    "ball",
    "balloon",
    "fence",
    "flower",
    "mushroom",
    "bird",
    "kite",
    "umbrella",
)
CATEGORIES: tuple[str, ...] = STUFF + THINGS
UNCOLOURED: tuple[str, ...] = ("sun", "moon", "cloud", "oak", "pine")
COLOURED: tuple[str, ...] = tuple(name for name in THINGS if name not in UNCOLOURED)
# There is at most one of these in a scene.
SINGLE: tuple[str, ...] = ("sun", "moon")
COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
LIGHTS: tuple[str, ...] = ("day", "dusk", "night")
VOID = 255


def plural(name: str) -> str:
    """Return the plural of a thing's name.

    Args:
        name: One of `THINGS`, all of which take a plain "s".
    """
    return f"{name}s"
