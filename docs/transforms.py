"""Draws one record under several transforms: the picture of docs/how_to/transforms.md.

``python docs/transforms.py`` draws a few scenes, changes one of them, and writes ``docs/images/transforms.png``: each
category in a colour of its own, each object outlined, ignored pixels in grey, and below it how many phrases are left.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import albumentations
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from PIL import Image
from torchvision.transforms import v2

from lasagna.core.plotting import new_figure, save
from lasagna.core.record import Record
from lasagna.datamodules import (
    Albumentations,
    ColourJitter,
    CopyPaste,
    HorizontalFlip,
    LargeScaleJitter,
    RandomCrop,
    RecordTransform,
    SceneWriter,
    Source,
    Torchvision,
)
from lasagna.tasks import Semantic

PICTURE = Path(__file__).resolve().parent / "images" / "transforms.png"
RECORD, SEED, SIZE = 5, 3, 256

TRANSFORMS: dict[str, RecordTransform] = {
    "RandomCrop": RandomCrop((0.3, 0.4), phrases="whole"),
    "HorizontalFlip": HorizontalFlip(1.0),
    "ColourJitter": ColourJitter(0.4, 0.4, 0.4),
    "LargeScaleJitter, 0.5 times": LargeScaleJitter((0.5, 0.5)),
    "LargeScaleJitter, 2 times": LargeScaleJitter((2.0, 2.0), phrases="whole"),
    "Torchvision: RandomAffine": Torchvision(v2.RandomAffine((20, 20), shear=(10, 10))),
    "Albumentations: GridDistortion": Albumentations(albumentations.GridDistortion(distort_limit=0.6, p=1)),
    "CopyPaste": CopyPaste(1.0, objects=(3, 3), scale=(1.0, 2.0)),
}


def main() -> None:
    """Draw the record as it is and after each transform."""
    with TemporaryDirectory() as folder:
        SceneWriter(folder, train=12, val=1, test=1, size=SIZE, processes=1).prepare()
        source = Source(f"{folder}/train", Semantic(), transforms=list(TRANSFORMS.values()))
        record = list(source.records())[RECORD]
        changed = [transform(record, np.random.default_rng(SEED)) for transform in source.bound_transforms]
        names = source.manifest.categories
    figure = new_figure(10.5, 11.5)
    panels = figure.subplots(3, 3).flat
    for axes, title, one in zip(panels, ("the record", *TRANSFORMS), (record, *changed), strict=True):
        draw(axes, title, one, names)
    save(figure, PICTURE)
    Image.open(PICTURE).convert("RGB").quantize(128).save(PICTURE, optimize=True)


def draw(axes: Axes, title: str, record: Record, names: tuple[str, ...]) -> None:
    """Draw a record with its masks.

    Args:
        axes: The panel.
        title: Its title.
        record: The record.
        names: The categories, by whose order colours are given.
    """
    image = record.image().astype(np.float64) / 255
    for name, mask in record.category_masks().items():
        pixels = mask.decode()
        image[pixels] = 0.6 * image[pixels] + 0.4 * np.array(colormaps["tab20"](names.index(name) % 20)[:3])
    if (ignored := record.ignored()) is not None:
        image[ignored.decode()] = 0.85
    axes.imshow(image)
    for region in record.objects().values():
        for mask in region.masks or ():
            axes.contour(mask.decode(), levels=[0.5], colors="black", linewidths=0.8)
    axes.set_title(title, fontsize=10)
    present = ", ".join(record.category_masks())
    axes.set_xlabel(f"{present}\n{len(record.phrases)} phrases", fontsize=7, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    main()
