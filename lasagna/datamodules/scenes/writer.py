"""Write drawn scenes as shards."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import BytesIO
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Phrase, Question, Record, Region
from lasagna.core.seeding import generator
from lasagna.core.storage import check_output
from lasagna.datamodules.scenes import STUFF, VOID, Scene, ask, caption, describe, draw_scene, long_labels, members
from lasagna.datamodules.scenes import riddles as draw_riddles
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.vocabulary import annotate_as, vocabulary_errors
from lasagna.datamodules.shards.manifest import ShardSet, read_manifest
from lasagna.datamodules.shards.writer import only_writer, write_parallel
from lasagna.datamodules.writers import DataWriter
from lasagna.errors import ConfigError, ShardError

SMALLEST = 16
"""Smallest size of a scene in pixels; in smaller ones, most parts of things are less than a pixel."""


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
        together: Probability that a thing of certain pairs (house and fence, boat and bird, ...) brings the other one,
            on its side and in its colour, so that it is expected where it is missing.
        twins: Probability that a scene has two things of a category on two sides in two colours.
        names: Category to the name by which it is annotated, where that is another; several categories may share one,
            as oak and pine share "tree".
        unannotated: Name to the share of the scenes on which it is not annotated, though it may be there.

    Raises:
        ConfigError: If numbers are out of their range or names are unknown; names all of them.
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
        together: float = 0.0,
        twins: float = 0.0,
        names: dict[str, str] | None = None,
        unannotated: dict[str, float] | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser()
        counts = {"train": train, "val": val, "test": test}
        shares = {"together": together, "twins": twins}
        _check_numbers({**counts, "processes": processes or 0, "size": size}, shares, least={"size": SMALLEST})
        whole = SceneSettings(
            seed=seed,
            split="",
            count=0,
            size=size,
            long_names=long_names,
            captions=captions,
            names=dict(names or {}),
            unannotated=dict(unannotated or {}),
            together=together,
            twins=twins,
        )
        if errors := vocabulary_errors(whole):
            raise ConfigError("SceneWriter: " + "; ".join(errors))
        self.splits = [replace(whole, split=split, count=count) for split, count in counts.items() if count]
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
    scene = draw_scene(rng, settings.size, settings.hardness)
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
    record = Record(
        key=f"{settings.split}-{index:06d}",
        image_bytes=_png(scene.image),
        size=(settings.size, settings.size),
        manifest=settings.manifest(),
        regions=_regions(scene, settings.long_names),
        ignore=RLEMask.from_array(void) if settings.long_names and void.any() else None,
        label_bytes=None if settings.long_names else _png(scene.labels),
    )
    return annotate_as(record, settings, index) if settings.names or settings.unannotated else record


def _check_numbers(numbers: dict[str, int], shares: dict[str, float], least: dict[str, int]) -> None:
    bounds = dict.fromkeys(numbers, 0) | least
    errors = [
        f"`{name}` must be at least {bounds[name]}, got {given}"
        for name, given in numbers.items()
        if given < bounds[name]
    ]
    errors += [f"`{name}` must be in [0, 1], got {share}" for name, share in shares.items() if not 0 <= share <= 1]
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
