"""Puts a drawn scene and a photograph with their answers side by side: the picture at the top of the README.

``python docs/teaser.py`` cuts one panel out of ``docs/images/answers.png`` (the default run) and one out of
``docs/images/photos.png`` (the mixture of CamVid and COCO), and writes ``docs/images/teaser.png``.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).resolve().parent / "images"
PANELS = {"answers.png": (17, 74, 696, 533), "photos.png": (14, 81, 586, 408)}
"""Picture to the panel's left, top, right and bottom in pixels."""
HEIGHT, GAP = 420, 24
"""Height of each panel and space between them, in pixels."""


def main() -> None:
    """Cut, scale to one height and join."""
    panels = [Image.open(IMAGES / name).convert("RGB").crop(box) for name, box in PANELS.items()]
    panels = [panel.resize((round(panel.width * HEIGHT / panel.height), HEIGHT)) for panel in panels]
    joined = Image.new("RGB", (sum(panel.width for panel in panels) + GAP * (len(panels) - 1), HEIGHT), "white")
    left = 0
    for panel in panels:
        joined.paste(panel, (left, 0))
        left += panel.width + GAP
    joined.quantize(256).save(IMAGES / "teaser.png", optimize=True)


if __name__ == "__main__":
    main()
