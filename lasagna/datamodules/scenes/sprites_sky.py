"""What is seen in the air: sun, moon, cloud, bird, kite, balloon."""

from __future__ import annotations

import math

from lasagna.datamodules.scenes.brush import Brush, arc
from lasagna.datamodules.scenes.palette import DARK, RGB, shade


def sun(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a disc with eight broad rays.

    Args:
        brush: Brush of the thing.
        colour: Not used, the sun has its own.
        vary: Turn of the rays, 0 to 1.
    """
    light = brush.shining()
    for k in range(8):
        a = math.tau * (k + vary) / 8
        tip = (math.cos(a), math.sin(a))
        left, right = ((0.66 * math.cos(a + d), 0.66 * math.sin(a + d)) for d in (-0.33, 0.33))
        light.polygon([tip, left, right], (255, 178, 40))
    light.ellipse((0, 0), (0.68, 0.68), (255, 196, 40))
    light.ellipse((0, 0), (0.54, 0.54), (255, 226, 84))


def moon(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a pale yellow crescent.

    Args:
        brush: Brush of the thing.
        colour: Not used, the moon has its own.
        vary: How thick the crescent is, 0 to 1.
    """
    light = brush.shining()
    deep = 0.15 + 0.3 * vary
    outer = arc((0.1, 0), (0.9, 0.9), 60, 300, 20)
    inner = arc((deep + 0.1, 0), (0.62, 0.78), 300, 60, 16)
    light.polygon(outer + inner, (248, 238, 168))
    light.ellipse((-0.5, 0.15), (0.11, 0.11), (226, 212, 140))


def cloud(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a heap of puffs with a grey foot.

    Args:
        brush: Brush of the thing.
        colour: Not used, clouds are white.
        vary: Shape of the heap, 0 to 1.
    """
    lift = 0.12 * (vary - 0.5)
    puffs = ((-0.68, 0.12, 0.4), (-0.2, -0.16 + lift, 0.48), (0.34, -0.1 - lift, 0.44), (0.76, 0.16, 0.34))
    for x, y, r in puffs:
        brush.ellipse((x, y + 0.08), (r, r), (206, 212, 224))
    for x, y, r in puffs:
        brush.ellipse((x, y - 0.02), (r * 0.9, r * 0.86), (250, 250, 252))


def bird(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a plump bird with a raised wing.

    Args:
        brush: Brush of the thing.
        colour: Its plumage.
        vary: How high the wing is, 0 to 1.
    """
    brush.polygon([(-0.5, 0.12), (-1.05, -0.12), (-1.0, 0.42)], shade(colour, 0.75))
    brush.polygon([(0.95, -0.12), (1.22, 0.02), (0.92, 0.14)], (250, 170, 40))
    brush.ellipse((0, 0.18), (0.72, 0.4), colour, edge=True)
    brush.ellipse((0.66, -0.06), (0.34, 0.32), colour, edge=True)
    brush.ellipse((0.42, 0.08), (0.3, 0.22), colour)
    tip = (-0.5, -0.62 - 0.35 * vary)
    brush.polygon([(-0.35, 0.2), tip, (0.0, -0.5), (0.32, 0.14)], shade(colour, 0.78), edge=True)
    brush.ellipse((0.74, -0.12), (0.08, 0.08), DARK)


def kite(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a diamond in two shades with a tail of bows.

    Args:
        brush: Brush of the thing.
        colour: Its cloth.
        vary: Swing of the tail, 0 to 1.
    """
    top, right, low, left = (0.1, -1.05), (0.78, -0.38), (-0.1, 0.55), (-0.6, -0.52)
    swing = 0.5 * (vary - 0.5)
    tail = [low, (0.12 + swing, 0.75), (-0.12 + swing, 0.95), (0.1 + swing, 1.15)]
    brush.line(tail, DARK, 0.08)
    for x, y in tail[1:3]:
        brush.polygon([(x - 0.2, y - 0.13), (x + 0.2, y + 0.13), (x + 0.2, y - 0.13), (x - 0.2, y + 0.13)], colour)
    brush.polygon([top, right, low, left], colour, edge=True)
    brush.polygon([top, right, (0.0, -0.44)], shade(colour, 0.78))
    brush.polygon([low, left, (0.0, -0.44)], shade(colour, 0.78))
    brush.line([top, low], DARK, 0.06)
    brush.line([left, right], DARK, 0.06)


def balloon(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a tall balloon with a knot and a string.

    Args:
        brush: Brush of the thing.
        colour: Its skin.
        vary: Swing of the string, 0 to 1.
    """
    swing = 0.3 * (vary - 0.5)
    brush.line([(0, 0.5), (0.1 + swing, 0.75), (-0.1 + swing, 0.95), (swing, 1.2)], DARK, 0.07)
    brush.polygon([(0, 0.34), (0.17, 0.6), (-0.17, 0.6)], shade(colour, 0.75))
    round_top = arc((0, -0.35), (0.68, 0.7), 180, 360, 14)
    brush.polygon([*round_top, (0.5, 0.1), (0.12, 0.46), (-0.12, 0.46), (-0.5, 0.1)], colour, edge=True)
    brush.ellipse((-0.26, -0.55), (0.14, 0.22), shade(colour, 1.65))
