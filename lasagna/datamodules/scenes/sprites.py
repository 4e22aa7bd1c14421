"""Drawings of all things: one function for each, called as the thing."""

from __future__ import annotations

import math

from lasagna.datamodules.scenes.brush import BARK, CREAM, DARK, GLASS, LEAF, PAINT, RGB, Brush, arc, shade


def sun(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a disc with eight broad rays.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Not used; the sun has its own colour.
        vary: Rotation of the rays, 0 to 1.
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
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Not used; the moon has its own colour.
        vary: Thickness of the crescent, 0 to 1.
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
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Not used; clouds are white.
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
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its plumage.
        vary: Height of the wing, 0 to 1.
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
        brush: Brush of the thing, whose unit is the thing's radius.
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
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its skin.
        vary: Swing of the string, 0 to 1.
    """
    swing = 0.3 * (vary - 0.5)
    brush.line([(0, 0.5), (0.1 + swing, 0.75), (-0.1 + swing, 0.95), (swing, 1.2)], DARK, 0.07)
    brush.polygon([(0, 0.34), (0.17, 0.6), (-0.17, 0.6)], shade(colour, 0.75))
    round_top = arc((0, -0.35), (0.68, 0.7), 180, 360, 14)
    brush.polygon([*round_top, (0.5, 0.1), (0.12, 0.46), (-0.12, 0.46), (-0.5, 0.1)], colour, edge=True)
    brush.ellipse((-0.26, -0.55), (0.14, 0.22), shade(colour, 1.65))


def house(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw painted walls under a gabled roof.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its walls.
        vary: Height of the roof, 0 to 1.
    """
    roof = (104, 66, 58)
    brush.bar((0.36, -0.95), (0.6, -0.3), roof)
    brush.bar((-0.8, -0.2), (0.8, 1.0), colour, edge=True)
    brush.polygon([(-1.02, -0.14), (0, -0.8 - 0.2 * vary), (1.02, -0.14)], roof, edge=True)
    brush.bar((-0.17, 0.4), (0.17, 1.0), shade(BARK, 0.8))
    for x in (-0.5, 0.5):
        brush.shining().bar((x - 0.17, 0.12), (x + 0.17, 0.46), (255, 236, 150), edge=True)


def car(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a small car from the side.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its body.
        vary: Length of the cabin, 0 to 1.
    """
    back = -0.6 - 0.2 * vary
    brush.polygon([(back, 0.3), (back + 0.2, -0.22), (0.3, -0.22), (0.64, 0.3)], colour, edge=True)
    brush.polygon([(back + 0.14, 0.28), (back + 0.28, -0.08), (-0.1, -0.08), (-0.1, 0.28)], GLASS)
    brush.polygon([(0.02, 0.28), (0.02, -0.08), (0.24, -0.08), (0.46, 0.28)], GLASS)
    brush.polygon([(-1.08, 0.4), (-0.98, 0.26), (0.7, 0.26), (1.08, 0.44), (1.1, 0.8), (-1.1, 0.8)], colour, edge=True)
    brush.bar((0.96, 0.44), (1.1, 0.58), (255, 240, 160))
    for x in (-0.6, 0.6):
        brush.ellipse((x, 0.76), (0.27, 0.27), DARK)
        brush.ellipse((x, 0.76), (0.12, 0.12), (186, 186, 192))


def boat(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a hull with a mast, a pale main sail and a painted jib.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its hull and jib.
        vary: Size of the jib, 0 to 1.
    """
    brush.line([(0, -1.05), (0, 0.5)], BARK, 0.1)
    brush.polygon([(0.1, -1.0), (0.92, 0.36), (0.1, 0.36)], CREAM, edge=True)
    brush.polygon([(-0.08, -0.8), (-0.08, 0.36), (-0.5 - 0.25 * vary, 0.36)], colour, edge=True)
    brush.polygon([(-1.05, 0.44), (1.08, 0.44), (0.74, 1.0), (-0.7, 1.0)], colour, edge=True)
    brush.line([(-0.94, 0.62), (0.96, 0.62)], shade(colour, 0.7), 0.1)


def ball(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a round ball with a curved band and a highlight.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its skin.
        vary: Tilt of the band, 0 to 1.
    """
    brush.ellipse((0, 0.16), (0.84, 0.84), colour, edge=True)
    tilt = 0.3 * (vary - 0.5)
    low = arc((0, 0.1 + tilt), (0.8, 0.34), 170, 10, 10)
    high = arc((0, -0.08 + tilt), (0.8, 0.34), 10, 170, 10)
    brush.polygon(low + high, shade(colour, 0.68))
    brush.ellipse((-0.3, -0.26), (0.18, 0.14), shade(colour, 1.75))


def fence(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw five broad pickets on two rails.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its boards.
        vary: Height of the pickets, 0 to 1.
    """
    top = -0.14 - 0.2 * vary
    for y in (0.2, 0.68):
        brush.bar((-1.12, y), (1.12, y + 0.18), shade(colour, 0.7))
    for k in range(5):
        x = (k - 2) * 0.48
        corners = [(x - 0.17, 1.0), (x - 0.17, top + 0.2), (x, top), (x + 0.17, top + 0.2), (x + 0.17, 1.0)]
        brush.polygon(corners, colour, edge=True)


def umbrella(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a scalloped dome in two shades over a hooked stick.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its cloth.
        vary: Height of the dome, 0 to 1.
    """
    high = 0.78 + 0.16 * vary
    brush.line([(0, -0.95), (0, 0.9), (0.12, 1.0), (0.28, 0.92), (0.3, 0.76)], DARK, 0.12)
    hem = [p for k in range(4) for p in arc((0.78 - 0.52 * k, 0.05), (0.26, 0.16), 0, -180, 5)]
    brush.polygon([*arc((0, 0.05), (1.04, high), 180, 360, 16), *hem], colour, edge=True)
    brush.polygon([*arc((0, 0.05), (0.52, high), 180, 360, 12), *hem[6:18]], shade(colour, 0.76))
    brush.line([(0, 0.05), (0, 0.02 - high)], shade(colour, 0.6), 0.05)


def oak(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a broad round crown on a stout trunk.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Not used; leaves are green.
        vary: Shape and tone of the crown, 0 to 1.
    """
    leaf = shade((88, 136, 48), 0.9 + 0.2 * vary)
    brush.polygon([(-0.14, 0.2), (0.14, 0.2), (0.24, 1.0), (-0.24, 1.0)], BARK, edge=True)
    puffs = ((-0.58, 0.02, 0.42), (0.58, 0.0, 0.42), (-0.3, -0.5, 0.46), (0.34, -0.48, 0.44))
    for x, y, r in puffs:
        brush.ellipse((x, y), (r, r), shade(leaf, 0.7))
    brush.ellipse((0, 0.08), (0.6, 0.36), shade(leaf, 0.7))
    for x, y, r in puffs:
        brush.ellipse((x - 0.04, y - 0.06), (r * 0.86, r * 0.84), leaf)
    brush.ellipse((0, -0.12), (0.5, 0.4), leaf)
    brush.ellipse((-0.3, -0.5 - 0.1 * vary), (0.2, 0.16), shade(leaf, 1.2))


def pine(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw three stacked triangles on a thin trunk.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Not used; needles are dark green.
        vary: Width and tone of the tree, 0 to 1.
    """
    needle = shade((30, 88, 70), 0.9 + 0.2 * vary)
    wide = 0.62 + 0.14 * vary
    brush.bar((-0.12, 0.6), (0.12, 1.0), shade(BARK, 0.85))
    for low, high, share in ((0.78, -0.1, 1.0), (0.3, -0.55, 0.8), (-0.22, -1.1, 0.58)):
        half = wide * share
        brush.polygon([(0, high), (half, low), (-half, low)], needle, edge=True)
        brush.polygon([(0, high + 0.1), (-half * 0.2, low - 0.1), (-half * 0.8, low - 0.1)], shade(needle, 1.2))


def flower(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw six petals around an eye, on a stem with two leaves.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its petals.
        vary: Rotation of the petals, 0 to 1.
    """
    brush.line([(0, -0.2), (0, 1.0)], LEAF, 0.16)
    brush.ellipse((-0.3, 0.68), (0.28, 0.13), LEAF)
    brush.ellipse((0.3, 0.54), (0.28, 0.13), shade(LEAF, 0.85))
    for k in range(6):
        a = math.tau * (k + vary) / 6
        brush.ellipse((0.42 * math.cos(a), -0.34 + 0.42 * math.sin(a)), (0.31, 0.31), colour, edge=True)
    eye = PAINT["orange"] if colour == PAINT["yellow"] else (250, 208, 60)
    brush.ellipse((0, -0.34), (0.24, 0.24), eye)


def mushroom(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a spotted cap on a pale stem.

    Args:
        brush: Brush of the thing, whose unit is the thing's radius.
        colour: Its cap.
        vary: Position of the spots, 0 to 1.
    """
    spot = (196, 190, 184) if colour == PAINT["white"] else CREAM
    brush.polygon([(-0.24, 0.0), (0.24, 0.0), (0.34, 1.0), (-0.34, 1.0)], CREAM, edge=True)
    dome = arc((0, 0.1), (0.92, 0.98), 180, 360, 16)
    brush.polygon([*dome, (0.6, 0.3), (-0.6, 0.3)], colour, edge=True)
    for x, y, r in ((-0.48, -0.12, 0.15), (0.05, -0.5, 0.18), (0.5, -0.08, 0.13)):
        brush.ellipse((x + 0.1 * (vary - 0.5), y), (r, r), spot)
