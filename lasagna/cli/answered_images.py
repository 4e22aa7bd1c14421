"""Answers of a command line about image files, one after the other, and the files that they are written to."""

# without `from __future__ import annotations`, as `predict` has it
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lasagna.cli.prediction_files import write_answers
from lasagna.core.images import Channels, Window
from lasagna.core.tiles import Tiles
from lasagna.errors import RecordError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.core.batch import Query
    from lasagna.core.dialogue import Answer
    from lasagna.integrations.label_files import LabelFiles
    from lasagna.modules.assistant import Assistant


def answer_images(
    assistant: "Assistant",
    images: Sequence[Sequence[Path]],
    queries: "Sequence[Query]",
    out: Path,
    decoding: Literal["ordered", "free"],
    window: Window | None = None,
    masks_on: int = -1,
    files: "LabelFiles | None" = None,
    stems: Mapping[Path, str] | None = None,
    channels: Channels | None = None,
    tiles: Tiles | None = None,
    geojson: bool = False,
) -> list[RecordError]:
    """Answer all queries about each image and write the answers.

    Args:
        assistant: The assistant.
        images: Image files; those of one list are shown together.
        queries: The queries.
        out: Folder of the answers.
        decoding: How to decode.
        window: Values of images of more than 8 bits that become black and white; None for those of all 16 bits.
        masks_on: Position of the image that masks belong to.
        files: What writes files of labels as well.
        stems: Name of each image's files, for images that are some of more; by default ``output_stems`` of these.
        channels: Channels that become red, green and blue; None for those of images of one or three channels.
        tiles: How images are divided; None to answer each as a whole.
        geojson: Whether to write GeoJSON too, for images that lie on a map.

    Returns:
        The errors of the images that could not be read.
    """
    from rich.progress import track

    from lasagna.core.image_files import decode_image
    from lasagna.core.tiff import read_georeference
    from lasagna.modules.contract import check_queries
    from lasagna.modules.decoding.tiles import answer_tiles
    from lasagna.modules.decoding.visual_prompts import check_visual

    with warnings.catch_warnings(record=True) as told:
        check_queries(assistant, queries, decoding)
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)
    failed, written = [], []
    names = stems or output_stems([paths[masks_on] for paths in images])
    for paths in track(images, "Answering", disable=len(images) < 2):
        path = paths[masks_on]
        try:
            contents = [each.read_bytes() for each in paths]
            shown = [
                decode_image(content, str(each), upright=True, window=window, channels=channels)
                for content, each in zip(contents, paths, strict=True)
            ]
        except (RecordError, OSError) as error:
            failed.append(RecordError(str(error)))
            continue
        place = read_georeference(contents[masks_on])
        del contents
        check_visual(assistant.mask_head, queries, [shown[masks_on].shape[:2]])
        if tiles is None:
            answers = _ask(assistant, shown, queries, decoding, masks_on)
        else:
            # only one bar can be shown at a time
            progress = partial(track, description=f"Tiles of {path.name}", disable=len(images) > 1)
            answers = answer_tiles(assistant, shown[0], queries, tiles, decoding, progress=progress)
        if geojson and place is None:
            print(f"{path}: no GeoJSON, since the file does not say where on a map it lies", file=sys.stderr)
        name = names[path]
        if files is not None:
            files.write(path, name, shown[masks_on].shape[:2], answers)
        shown_paths = [path, *paths]
        written.append(write_answers(out, name, shown_paths, shown[masks_on], queries, answers, place, geojson))
    if files is not None and written:
        files.finish(written)
    return failed


def output_stems(images: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each image's files: its stem, or its whole name where several have that stem."""
    stems = Counter(image.stem for image in images)
    return {image: image.stem if stems[image.stem] == 1 else image.name for image in images}


def _ask(
    assistant: "Assistant",
    shown: "Sequence[NDArray[np.uint8]]",
    queries: "Sequence[Query]",
    decoding: Literal["ordered", "free"],
    masks_on: int,
) -> "list[Answer]":
    """Answer all queries about images, encoded once; words are always decoded freely."""
    encoded, geometry = assistant.encode_image(shown, masks_on)
    queries = [replace(query, images=len(shown)) for query in queries]
    explained = [query for query in queries if query.kind.words]
    others = [query for query in queries if not query.kind.words]
    answers = dict(zip(others, assistant.answer_batch(encoded, [geometry], others, decoding), strict=True))
    answers |= zip(explained, assistant.answer_batch(encoded, [geometry], explained, "free"), strict=True)
    return [answers[query] for query in queries]
