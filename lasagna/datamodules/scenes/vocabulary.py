"""The same scenes in other words: categories that share a name, and names that not every scene annotates."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from itertools import chain

import numpy as np
from PIL import Image

from lasagna.core.prompt_formats import name_error
from lasagna.core.record import Record, Region
from lasagna.core.seeding import generator
from lasagna.datamodules.scenes import CATEGORIES, STUFF
from lasagna.datamodules.scenes.settings import UNANNOTATED, SceneSettings
from lasagna.datamodules.shards.manifest import manifest_errors


def vocabulary_errors(settings: SceneSettings) -> list[str]:
    """Return what is wrong with the names of scenes, as ends of a message.

    Args:
        settings: Settings of the scenes.
    """
    said = settings.manifest().categories
    errors = [
        f"`names` has {name!r}, which is none of the categories {', '.join(CATEGORIES)}"
        for name in settings.names
        if name not in CATEGORIES
    ]
    errors += [f"`names`: {error}" for name in dict.fromkeys(settings.names.values()) if (error := name_error(name))]
    errors += [f"`names`: {error}" for error in manifest_errors(settings.manifest())]
    errors += [
        f"`unannotated` has {name!r}, which is none of the names {', '.join(said)}"
        for name in settings.unannotated
        if name not in said
    ]
    errors += [
        f"`unannotated` of {name!r} must be in [0, 1], got {share}"
        for name, share in settings.unannotated.items()
        if not 0 <= share <= 1
    ]
    kinds = [{category in STUFF for category in CATEGORIES if settings.said(category) == name} for name in said]
    errors += [
        f"`names` calls both stuff and things {name!r}"
        for name, kind in zip(said, kinds, strict=True)
        if len(kind) > 1 and not settings.long_names
    ]
    if settings.long_names and (settings.names or settings.unannotated):
        errors.append("`names` and `unannotated` go with the 24 categories; leave `long_names` out")
    return errors


def annotate_as(record: Record, settings: SceneSettings, index: int) -> Record:
    """Return a record whose categories have the names of the settings, without those that it does not annotate.

    Args:
        record: The record, with all categories under their own names.
        settings: Settings of the scenes.
        index: Number of the scene within its split.
    """
    rng = generator(settings.seed, 1, f"{settings.split}/{index}")
    left_out = {name for name, share in settings.unannotated.items() if rng.random() < share}
    assert record.label_bytes is not None
    labels = np.array(Image.open(BytesIO(record.label_bytes)))
    values = [value for value, category in enumerate(CATEGORIES) if settings.said(category) in left_out]
    labels[np.isin(labels, values)] = UNANNOTATED
    named: dict[str, list[Region]] = {}
    for region in record.regions:
        named.setdefault(settings.said(region.name), []).append(region)
    return replace(
        record,
        label_bytes=_png(labels),
        regions=tuple(
            Region.of_objects(name, list(chain.from_iterable(region.masks or () for region in regions)))
            for name, regions in named.items()
            if name not in left_out
        ),
    )


def _png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
