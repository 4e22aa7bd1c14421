"""Write drawn scenes as shards."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from io import BytesIO
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Manifest, Phrase, Question, Record, Region
from lasagna.core.seeding import generator
from lasagna.core.storage import check_output
from lasagna.datamodules.scenes import (
    CATEGORIES,
    LONG_NAMES,
    STUFF,
    VOID,
    Scene,
    ask,
    caption,
    describe,
    draw_scene,
    long_labels,
    members,
)
from lasagna.datamodules.scenes import riddles as draw_riddles
from lasagna.datamodules.shards.manifest import ShardSet, read_manifest
from lasagna.datamodules.shards.writer import only_writer, write_parallel
from lasagna.datamodules.writers import DataWriter
from lasagna.errors import ConfigError, ShardError

SMALLEST = 16
"""Smallest size of a scene in pixels; in smaller ones, most parts of things are less than a pixel."""

VERSION = 2
"""Incremented when scenes of the same settings change, so that old shards are replaced."""


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
        version: Version of this writer.
        captions: Whether each scene has a caption with masks; the rest of it is the same without.
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

    def stored(self) -> dict[str, Any]:
        """Return the settings as they stand in manifests; scenes without captions have those from before captions."""
        return {name: value for name, value in asdict(self).items() if name != "captions" or value}

    def manifest(self) -> Manifest:
        """Return the manifest of the scenes."""
        return Manifest(
            name="scenes-long" if self.long_names else "scenes",
            categories=LONG_NAMES if self.long_names else CATEGORIES,
            labels={} if self.long_names else dict(enumerate(CATEGORIES)),
            void=() if self.long_names else (VOID,),
            origin=f"drawn by lasagna.datamodules.scenes, seed {self.seed}, split {self.split}",
            licence="CC0-1.0",
        )


class SceneWriter(DataWriter):
    """Draws scenes and writes them as shards into ``<folder>/train``, ``val`` and ``test``.

    A split that already exists with the same settings is kept.

    Args:
        folder: Where to write.
        train: Number of scenes for training.
        val: Number of scenes for validation.
        test: Number of scenes for testing.
        seed: Seed of the scenes; different splits have different scenes.
        size: Width and height in pixels.
        long_names: Whether things are named by side, colour and category (189 names) instead of 24 categories.
        captions: Whether each scene has a caption with masks, for ``GroundedCaption``.
        processes: Number of processes that draw; None for one per core.

    Raises:
        ConfigError: If numbers are out of their range; names all of them.
    """

    def __init__(
        self,
        folder: str,
        train: int = 16000,
        val: int = 512,
        test: int = 1024,
        seed: int = 0,
        size: int = 96,
        long_names: bool = False,
        processes: int | None = None,
        captions: bool = False,
    ) -> None:
        self.folder = Path(folder).expanduser()
        counts = {"train": train, "val": val, "test": test}
        _check_numbers({**counts, "processes": processes or 0, "size": size}, least={"size": SMALLEST})
        self.splits = [
            SceneSettings(seed=seed, split=split, count=count, size=size, long_names=long_names, captions=captions)
            for split, count in counts.items()
            if count
        ]
        self.processes = processes

    def prepare(self) -> None:
        """Write the splits that are missing, broken or have other settings; wait for a process that does the same."""
        check_output(self.folder, "folder")
        for settings in self.splits:
            folder = self.folder / settings.split
            if not _is_written(folder, settings):
                with only_writer(folder, patience=inf):
                    if not _is_written(folder, settings):
                        write_scenes(folder, settings, self.processes)


def write_scenes(folder: Path, settings: SceneSettings, processes: int | None = None) -> ShardSet:
    """Draw the scenes of a split and write them as shards, with a progress bar.

    Args:
        folder: Where to write.
        settings: Settings of the scenes.
        processes: Number of processes that draw; None for one per core.
    """
    return write_parallel(
        partial(scene_record, settings),
        settings.count,
        folder,
        settings.manifest(),
        processes=processes,
        split=f"{settings.split} scenes",
        settings=settings.stored(),
    )


def scene_record(settings: SceneSettings, index: int) -> Record:
    """Draw a scene and return it as a record.

    Args:
        settings: Settings of the scenes.
        index: Number of the scene within its split.
    """
    rng = generator(settings.seed, 0, f"{settings.split}/{index}")
    scene = draw_scene(rng, settings.size)
    phrases = tuple(
        Phrase(phrase.text, tuple(RLEMask.from_array(scene.mask([target])) for target in phrase.targets), phrase.kind)
        for phrase in describe(scene, rng, settings.phrases)
    )
    riddles = tuple(
        Question(riddle.text, masks=(RLEMask.from_array(riddle.mask(scene)),) if riddle.names else (), kind="riddle")
        for riddle in draw_riddles(scene, rng, settings.riddles)
    )
    questions = tuple(
        Question(question.text, question.answer, kind=question.kind) for question in ask(scene, rng, settings.questions)
    )
    captions = (_caption(scene),) if settings.captions else ()
    record = mapped_record(scene, settings, index)
    return replace(record, phrases=phrases, questions=riddles + questions, captions=captions)


def mapped_record(scene: Scene, settings: SceneSettings, index: int) -> Record:
    """Return a scene as a record with its maps, without words about it.

    Args:
        scene: The scene.
        settings: Settings of the scenes.
        index: Number of the scene within its split.
    """
    # without a label map, the pixels of no name must be ignored explicitly
    void = scene.labels == VOID
    return Record(
        key=f"{settings.split}-{index:06d}",
        image_bytes=_png(scene.image),
        size=(settings.size, settings.size),
        manifest=settings.manifest(),
        regions=_regions(scene, settings.long_names),
        ignore=RLEMask.from_array(void) if settings.long_names and void.any() else None,
        label_bytes=None if settings.long_names else _png(scene.labels),
    )


def _check_numbers(numbers: dict[str, int], least: dict[str, int]) -> None:
    bounds = dict.fromkeys(numbers, 0) | least
    errors = [
        f"`{name}` must be at least {bounds[name]}, got {given}"
        for name, given in numbers.items()
        if given < bounds[name]
    ]
    if errors:
        raise ConfigError("SceneWriter: " + "; ".join(errors))


def _is_written(folder: Path, settings: SceneSettings) -> bool:
    try:
        shard_set = read_manifest(folder)
    except ShardError:
        return False
    return dict(shard_set.settings) == settings.stored() and not shard_set.errors()


def _regions(scene: Scene, long_names: bool) -> tuple[Region, ...]:
    """Return the things, each with its own mask, and with long names the stuff, which has no label map then."""
    stuff = long_labels(scene).items() if long_names else ()
    things = [
        Region.of_objects(name, [RLEMask.from_array(scene.mask([k])) for k in indices])
        for name, indices in members(scene, long_names).items()
    ]
    return (*(Region(name, RLEMask.from_array(mask)) for name, mask in stuff if name in STUFF), *things)


def _caption(scene: Scene) -> Caption:
    made = caption(scene)
    phrases = [CaptionPhrase(span, tuple(map(RLEMask.from_array, masks))) for span, masks in made.phrases]
    return Caption(made.text, tuple(phrases))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
