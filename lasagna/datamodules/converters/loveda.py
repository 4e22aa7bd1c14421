"""LoveDA: aerial pictures of Chinese cities and their surroundings, 7 kinds of land cover.

Source: Wang et al. (NeurIPS 2021 Datasets and Benchmarks), arXiv 2110.08733; ``Junjue-Wang/LoveDA``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import LayoutError, read_file
from lasagna.datamodules.converters.common.label_maps import files_by_key, labelled_split, pair_up
from lasagna.datamodules.converters.common.names import named_manifest

NO_DATA, BACKGROUND = 0, 1
"""Label values of pixels that are ignored, and of annotated ones that belong to none of the named classes."""

CLASSES = {2: "building", 3: "road", 4: "water", 5: "barren land", 6: "forest", 7: "agriculture"}
RELEASED = {"barren land": "barren", "agriculture": "agricultural"}
"""Names that the release writes otherwise."""

SPLITS = {"train": "Train", "val": "Val"}
SCENES = ("Urban", "Rural")
EXPECTED = """
  {Train,Val}/{Urban,Rural}/images_png/0.png
  {Train,Val}/{Urban,Rural}/masks_png/0.png"""


class LoveDA(Converter):
    """LoveDA as released; label files stay as they are (0 is without data, 1 background, then 2 to 7).

    Pixels without data are ignored; those of the background are of no class. The masks of the test split are withheld,
    so it is not converted.

    Args:
        source: The folder that holds ``Train`` and ``Val``.
        scenes: Which scenes: "urban" or "rural" ones, as the benchmark of domain adaptation divides them, or "both".
    """

    def __init__(self, source: Path, scenes: Literal["both", "urban", "rural"] = "both") -> None:
        self.source = source
        self.scenes = scenes

    def splits(self) -> Mapping[str, Split]:
        """Return train and val, if they exist.

        Raises:
            LayoutError: If neither does; later, if a split has pictures but no masks.
        """
        chosen = [scene for scene in SCENES if self.scenes in ("both", scene.lower())]
        folders = {name: [self.source / part / scene for scene in chosen] for name, part in SPLITS.items()}
        found = {name: [place for place in places if place.is_dir()] for name, places in folders.items()}
        if not any(found.values()):
            raise LayoutError(f"source: {self.source} holds no pictures of LoveDA; expected{EXPECTED}")
        return LazySplits({name: partial(_split, places) for name, places in found.items() if places})


def _split(scenes: list[Path]) -> Split:
    pairs = []
    for scene in scenes:
        images, labels = (files_by_key(scene / name, (".png",)) for name in ("images_png", "masks_png"))
        # the numbers of files differ between the scenes, but only by custom
        found = pair_up(images, labels, str(scene))
        pairs += [replace(pair, key=f"{scene.name.lower()}-{pair.key}") for pair in found]
    return labelled_split(loveda_manifest(), pairs, read_file)


def loveda_manifest() -> Manifest:
    """Return the manifest of the six named classes; the seventh, background, is none."""
    manifest = named_manifest(
        "loveda",
        {value: (name, *([RELEASED[name]] if name in RELEASED else [])) for value, name in CLASSES.items()},
        origin="LoveDA (Nanjing, Changzhou and Wuhan)",
        licence="CC BY-NC-SA 4.0",
        void=(NO_DATA,),
    )
    return replace(manifest, background=(BACKGROUND,))
