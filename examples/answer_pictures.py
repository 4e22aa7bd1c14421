"""Answers lists of names about the pictures of a folder from Python, and draws what was found.

Run a training first: ``python train.py``. Then: ``python examples/answer_pictures.py``
"""

from pathlib import Path

import numpy as np
from PIL import Image

import lasagna
from lasagna.tasks.visualization.answer import draw_answer

CHECKPOINT = Path("runs/default/checkpoints/last.ckpt")
PICTURES = Path("docs/images")
NAMES = ["sky", "grass", "sun", "house", "oak", "umbrella"]
OUT = Path("predictions")


def main() -> None:
    """Answer, print and draw."""
    assistant = lasagna.load(CHECKPOINT)
    OUT.mkdir(exist_ok=True)
    for file in sorted(PICTURES.glob("scene*.png")):
        pixels = np.asarray(Image.open(file).convert("RGB"))
        answer = assistant.answer(pixels, NAMES)
        found = [f"{entry.name} ({entry.score:.2f})" for entry in answer.entries if entry.present]
        print(f"{file.name}: {', '.join(found) or 'nothing of it'}")
        draw_answer(pixels, ", ".join(NAMES), answer.entries).save(OUT / f"{file.stem}-answered.png")


if __name__ == "__main__":
    main()
