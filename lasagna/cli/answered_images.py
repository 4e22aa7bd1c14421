"""Answers of a command line about image files, and the files that they are written to."""

# without `from __future__ import annotations`, as `predict` has it
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lasagna.cli.asked_images import AskedImages, ReadImage
from lasagna.cli.prediction_files import write_answers
from lasagna.core.images import Channels, Window
from lasagna.core.tiles import Tiles
from lasagna.errors import RecordError

if TYPE_CHECKING:
    from lasagna.core.batch import Query
    from lasagna.core.dialogue import Decoding
    from lasagna.integrations.label_files import LabelFiles
    from lasagna.modules.assistant import Assistant


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
    batch: int | None = None,
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
        batch: Images that are answered together; None for as many as are fastest. Images in tiles are answered one by
            one.

    Returns:
        The errors of the images that could not be read.
    """
    from rich.progress import track

    from lasagna.modules.contract import check_queries

    with warnings.catch_warnings(record=True) as told:
        check_queries(assistant, queries, decoding)
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)
    failed, written = list[RecordError](), list[Future[Path]]()
    names = stems or output_stems([paths[masks_on] for paths in images])
    read = partial(_read, window=window, channels=channels, masks_on=masks_on)
    asked = AskedImages(assistant, queries, decoding, masks_on, tiles, batch)
    # large pictures, which are answered in tiles, are held one at a time
    ahead = max(_AHEAD, asked.batch) if tiles is None else 0
    with ThreadPoolExecutor(1) as writer:
        reading = _readable(_read_ahead(images, read, ahead), failed)
        answered = asked.answers(track(reading, "Answering", len(images), disable=len(images) < 2))
        for image, answers in answered:
            path = image.paths[masks_on]
            if geojson and image.place is None:
                print(f"{path}: no GeoJSON, since the file does not say where on a map it lies", file=sys.stderr)
            pixels, place = image.shown[masks_on], image.place
            content = (out, names[path], [path, *image.paths], pixels, queries, answers, place, geojson)
            written.append(writer.submit(_write, files, *content))
            # what waits to be written holds its image and masks
            if len(written) > ahead:
                written[-1 - ahead].result()
        done = [future.result() for future in written]
    if files is not None and done:
        files.finish(done)
    return failed


_AHEAD = 2
"""Images that are read while others are answered, and that wait to be written, if they are not more together."""


def _read_ahead(
    images: Sequence[Sequence[Path]], read: "Callable[[Sequence[Path]], ReadImage]", ahead: int
) -> "Iterator[Future[ReadImage]]":
    """Yield what is read of each image, or the error, while the next ones are read."""
    with ThreadPoolExecutor(max(1, min(ahead, _AHEAD))) as readers:
        waiting = deque[Future[ReadImage]]()
        for paths in images:
            waiting.append(readers.submit(read, paths))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()


def _readable(reading: "Iterable[Future[ReadImage]]", failed: list[RecordError]) -> "Iterator[ReadImage | None]":
    """Yield the images that can be read, and None for others, whose errors are added to a list."""
    for content in reading:
        try:
            yield content.result()
        except (RecordError, OSError) as error:
            failed.append(RecordError(str(error)))
            yield None


def _read(paths: Sequence[Path], window: Window | None, channels: Channels | None, masks_on: int) -> ReadImage:
    """Return the pixels of files that are shown together, and where on a map the one with the masks lies."""
    from lasagna.core.image_files import decode_image
    from lasagna.core.tiff import read_georeference

    contents = [each.read_bytes() for each in paths]
    shown = [
        decode_image(content, str(each), upright=True, window=window, channels=channels)
        for content, each in zip(contents, paths, strict=True)
    ]
    return ReadImage(paths, shown, read_georeference(contents[masks_on]))


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
