"""Everything that the scenes of a split depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lasagna.core.record import Manifest
from lasagna.datamodules.scenes import CATEGORIES, LONG_NAMES, VOID
from lasagna.datamodules.scenes.hardness import Hardness

VERSION = 2
"""Incremented when scenes of the same settings change, so that old shards are replaced."""

UNANNOTATED = 254
"""Label of pixels that belong to a category which is not annotated on their scene."""

_LATER = ("captions", "together", "twins", "names", "unannotated")
"""Settings that stand in manifests only if they are used, since scenes without them are those from before them."""


@dataclass(frozen=True)
class SceneSettings:
    """Everything that the scenes of a split depend on.

    Args:
        seed: Seed of the scenes; different splits have different scenes.
        split: Name of the split.
        count: Number of scenes.
        size: Width and height in pixels.
        long_names: Whether things are named by side, colour and category (189 names) instead of 24 categories.
        phrases: Referring phrases for each scene.
        riddles: Indirect descriptions for each scene.
        questions: Visual questions for each scene.
        version: Version of the writer.
        captions: Whether each scene has a caption with masks; the rest of it is the same without.
        together: Probability that a thing brings its companion.
        twins: Probability of things that differ in colour and side only.
        names: Category to the name by which it is annotated, where that is another; several may share one.
        unannotated: Name to the share of the scenes on which it is not annotated.
    """

    seed: int
    split: str
    count: int
    size: int = 96
    long_names: bool = False
    phrases: int = 8
    riddles: int = 4
    questions: int = 8
    version: int = VERSION
    captions: bool = False
    together: float = 0.0
    twins: float = 0.0
    names: Mapping[str, str] = field(default_factory=dict)
    unannotated: Mapping[str, float] = field(default_factory=dict)

    def stored(self) -> dict[str, Any]:
        """Return the settings as they stand in manifests."""
        return {name: value for name, value in asdict(self).items() if name not in _LATER or value}

    @property
    def hardness(self) -> Hardness:
        """How hard the presence of things is to tell."""
        return Hardness(self.together, self.twins)

    def said(self, category: str) -> str:
        """Return the name by which a category is annotated."""
        return self.names.get(category, category)

    def manifest(self) -> Manifest:
        """Return the manifest of the scenes."""
        return Manifest(
            name="scenes-long" if self.long_names else "scenes",
            categories=LONG_NAMES if self.long_names else tuple(dict.fromkeys(map(self.said, CATEGORIES))),
            labels={} if self.long_names else dict(enumerate(map(self.said, CATEGORIES))),
            void=() if self.long_names else (VOID,),
            origin=f"drawn by lasagna.datamodules.scenes, seed {self.seed}, split {self.split}",
            licence="CC0-1.0",
            background=(UNANNOTATED,) if self.unannotated else (),
        )
