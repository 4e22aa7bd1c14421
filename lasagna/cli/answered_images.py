"""Answers of a command line about image files, one after the other, and the files that they are written to."""

# without `from __future__ import annotations`, as `predict` has it
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lasagna.cli.prediction_files import write_answers
from lasagna.core.images import Channels, Window
from lasagna.core.tiles import Tiles
from lasagna.errors import RecordError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.core.answer import Answer
    from lasagna.core.batch import Query
    from lasagna.core.dialogue import Decoding
    from lasagna.core.tiff import Georeference
    from lasagna.integrations.label_files import LabelFiles
    from lasagna.modules.assistant import Assistant

    ReadImages = tuple[list[NDArray[np.uint8]], Georeference | None]


def answer_images(
    assistant: "Assistant",
    images: Sequence[Sequence[Path]],
    queries: "Sequence[Query]",
    out: Path,
    decoding: "Decoding",
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

    from lasagna.modules.contract import check_queries
    from lasagna.modules.decoding.tiles import answer_tiles
    from lasagna.modules.decoding.visual_prompts import check_visual

    with warnings.catch_warnings(record=True) as told:
        check_queries(assistant, queries, decoding)
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)
    failed, written = [], list[Future[Path]]()
    names = stems or output_stems([paths[masks_on] for paths in images])
    read = partial(_read, window=window, channels=channels, masks_on=masks_on)
    # large pictures, which are answered in tiles, are held one at a time
    ahead = _AHEAD if tiles is None else 0
    with ThreadPoolExecutor(1) as writer:
        reading = _read_ahead(images, read, ahead)
        for paths, content in track(reading, "Answering", len(images), disable=len(images) < 2):
            path = paths[masks_on]
            try:
                shown, place = content.result()
            except (RecordError, OSError) as error:
                failed.append(RecordError(str(error)))
                continue
            check_visual(assistant.mask_head, queries, [shown[masks_on].shape[:2]])
            if tiles is None:
                answers = _ask(assistant, shown, queries, decoding, masks_on)
            else:
                progress = partial(track, description=f"Tiles of {path.name}")
                answers = answer_tiles(assistant, shown[0], queries, tiles, decoding, progress=progress)
            if geojson and place is None:
                print(f"{path}: no GeoJSON, since the file does not say where on a map it lies", file=sys.stderr)
            answered = (out, names[path], [path, *paths], shown[masks_on], queries, answers, place, geojson)
            written.append(writer.submit(_write, files, *answered))
            # what waits to be written holds its image and masks
            if len(written) > ahead:
                written[-1 - ahead].result()
        done = [future.result() for future in written]
    if files is not None and done:
        files.finish(done)
    return failed


_AHEAD = 2
"""Images that are read while another is answered, and that wait to be written."""


def _read_ahead(
    images: Sequence[Sequence[Path]], read: "Callable[[Sequence[Path]], ReadImages]", ahead: int
) -> "Iterator[tuple[Sequence[Path], Future[ReadImages]]]":
    """Yield the files of each image, and what is read of them, or the error, while the next ones are read."""
    with ThreadPoolExecutor(max(1, ahead)) as readers:
        waiting = deque[tuple[Sequence[Path], "Future[ReadImages]"]]()
        for paths in images:
            waiting.append((paths, readers.submit(read, paths)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        yield from waiting


def _read(paths: Sequence[Path], window: Window | None, channels: Channels | None, masks_on: int) -> "ReadImages":
    """Return the pixels of files that are shown together, and where on a map the one with the masks lies."""
    from lasagna.core.image_files import decode_image
    from lasagna.core.tiff import read_georeference

    contents = [each.read_bytes() for each in paths]
    shown = [
        decode_image(content, str(each), upright=True, window=window, channels=channels)
        for content, each in zip(contents, paths, strict=True)
    ]
    return shown, read_georeference(contents[masks_on])


def _write(files: "LabelFiles | None", out: Path, name: str, paths: Sequence[Path], *answered: Any) -> Path:  # noqa: ANN401
    """Write the answers about an image; the JSON file comes last, since it says that all are there."""
    if files is not None:
        pixels, _, answers = answered[:3]
        files.write(paths[0], name, pixels.shape[:2], answers)
    return write_answers(out, name, paths, *answered)


def output_stems(images: Sequence[Path]) -> dict[Path, str]:
    """Return the name of each image's files: its stem, or its whole name where several have that stem."""
    stems = Counter(image.stem for image in images)
    return {image: image.stem if stems[image.stem] == 1 else image.name for image in images}


def _ask(
    assistant: "Assistant",
    shown: "Sequence[NDArray[np.uint8]]",
    queries: "Sequence[Query]",
    decoding: "Decoding",
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
