"""The ``lasagna predict`` command: answers about image files, drawn as PNG and written as JSON."""

# without `from __future__ import annotations`, whose texts the parser resolves by running the imports for type checkers
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lasagna.cli.answered_images import answer_images
from lasagna.cli.kinds import own_texts
from lasagna.cli.visual_prompts import with_pointing
from lasagna.core.image_places import place_of
from lasagna.core.images import check_channels, check_window
from lasagna.core.storage import check_output
from lasagna.core.thresholds import check_threshold, read_thresholds, with_thresholds
from lasagna.core.tile_joining import check_tiled
from lasagna.core.tiles import chosen_tiles
from lasagna.errors import OutputError, QueryError, RecordError, check_counts

if TYPE_CHECKING:
    from lasagna.core.batch import Query
    from lasagna.core.query_kind import QueryKind
    from lasagna.integrations.label_files import LabelFiles
    from lasagna.modules.assistant import Assistant

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of the files of a folder that are read as images."""

UNREAD = (".avif", ".cr2", ".dng", ".heic", ".heif", ".jp2", ".jxl", ".nef", ".svg")
"""Suffixes of pictures that are left out, and told."""


def predict(
    image: list[Path] | Path,
    ckpt: Path | None = None,
    query: str | None = None,
    refer: str | None = None,
    reason: str | None = None,
    explain: str | None = None,
    ask: str | None = None,
    own: dict[str, str] | None = None,
    points: list[list[float | str]] | None = None,
    boxes: list[list[float]] | None = None,
    mask: Path | None = None,
    out: Path = Path("predictions"),
    decoding: Literal["ordered", "free", "one_pass"] = "ordered",
    threshold: float | None = None,
    thresholds: dict[str, float] | Path | None = None,
    calibrated_for: str | None = None,
    empty_masks: Literal["present", "absent"] | None = None,
    window: tuple[float | str, float | str] | None = None,
    channels: list[int] | None = None,
    tiles: int | None = None,
    overlap: int | None = None,
    batch_size: int | None = None,
    geojson: bool = False,
    max_new_tokens: int | None = None,
    longest_list: int | None = None,
    device: str = "auto",
    frozen_check: bool = True,
    masks_on: int = -1,
    format: str | None = None,
) -> None:
    """Answer queries about an image, about several that are shown together, or about each image of a folder.

    Several kinds of queries can be asked together; each image is encoded once for all of them.

    Args:
        image: An image file, or a folder of images that are asked about one by one. Given several times, the image
            files that are shown together, in order.
        ckpt: A checkpoint of training, or a folder that `lasagna export` wrote. Without it, the small assistant of the
            package answers, which knows drawn scenes only.
        query: Names to look for, separated by commas, e.g. "sun, dog, house".
        refer: A phrase that refers to something, e.g. "the ball left of the house".
        reason: A description of something that does not name it, e.g. "what one could live in".
        explain: A description as for ``reason``, answered by a mask and the reason in words, by models that learned
            explanations (ReasonSeg); always decoded freely.
        ask: A question to answer in words, e.g. "how many balls are there".
        own: Queries of other kinds: "instances" or "panoptic" for every object of names, or "instances_by_token" or
            "panoptic_by_token" where the model learned these; "grounded_caption" for a description with masks; or a
            kind of your own, by its name if the model learned it, or by the path of its ``QueryKind``; and its text,
            e.g. {instances: 'car, dog'}, {grounded_caption: the picture}, {counting: birds} or {my_kinds.COUNTING:
            birds}.
        points: Points that say where the one thing is, for mask heads that take them, in pixels of the image from its
            left and top, e.g. "[[120, 80], [30, 40, negative]]"; those without a label are positive.
        boxes: Boxes around it, each left, top, width and height, e.g. "[[100, 60, 50, 40]]".
        mask: An earlier mask of it, to be mended: a JSON file that this command wrote, or an image that is not 0 in it.
            FILE.json#1 is the second of several masks of the name in a JSON file, such as those of objects.
        out: Folder for one JSON file per image and one PNG file per query.
        decoding: "ordered" decides on each name in the order of the query, "free" lets the model write, "one_pass"
            takes the decisions of a presence head, for models that were trained with one.
        threshold: Score in [0, 1] from which ordered decoding calls a name present; by default the one that ``lasagna
            calibrate`` found for the checkpoint, or 0.5.
        thresholds: Names with a threshold of their own, e.g. "{dog: 0.7}", or a JSON file with them; for all others it
            stays as it is.
        calibrated_for: Data set whose calibrated threshold is used; by default that of all data sets together.
        empty_masks: What a name counts as that is called present and whose mask has no pixel; by default as the
            checkpoint says, which is "present" unless it was set.
        window: Values of images of more than 8 bits that become black and white, e.g. "[0, 4095]", or percentages of
            the image's pixels, e.g. "[2%, 98%]"; by default those of all 16 bits.
        channels: Channels of images that become red, green and blue, or the one that becomes grey, counted from 0, e.g.
            "[3, 2, 1]"; needed for images of more than three channels.
        tiles: Height and width of the tiles in which a large image is answered, in pixels, e.g. 512; by default the
            image is answered as a whole.
        overlap: Pixels that neighbouring tiles have in common; by default an eighth of a tile.
        batch_size: Images of a folder, or tiles of an image, that are answered together, which may be faster and takes
            more memory; by default as many images as are fastest, or one tile.
        geojson: Whether to write the masks as GeoJSON too, in map coordinates, for images that say where they lie
            (GeoTIFF).
        max_new_tokens: Most tokens of an answer that the model writes freely; by default as the checkpoint says.
        longest_list: Most names that are asked at once; longer lists are asked in parts; by default as the checkpoint
            says, or as many as the language model takes.
        device: Device to compute on: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        frozen_check: Whether to require the frozen weights that the checkpoint was trained with.
        masks_on: Position of the image, among those shown together, that the masks belong to: by default the last.
        format: Forms of files of labels that are written as well, separated by commas: "coco", "labelme", "yolo" or
            "png".

    Raises:
        QueryError: If there is no query, one is empty, one is longer than the model takes, or points at nothing.
        RecordError: If there is no such image, or none can be read, or no such mask.
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold, the window, the channels, the tiles or the device cannot be used.
        OutputError: If the answers cannot be written.
    """
    queries = read_queries(query, refer, reason, ask, explain, own, ckpt)
    images = [find_shown(image)] if isinstance(image, list) else [[file] for file in find_images(image)]
    place_of(masks_on, len(images[0]), "image")
    pointed = images[0][masks_on] if isinstance(image, list) else image
    queries = with_pointing(queries, pointed, points, boxes, mask)
    queries = with_thresholds(queries, read_thresholds(thresholds), decoding)
    check_counts(max_new_tokens=max_new_tokens, batch_size=batch_size, longest_list=longest_list)
    divided = chosen_tiles(tiles, overlap, batch_size or 1)
    if divided is not None:
        check_tiled(queries, len(images[0]))
    seen = None if window is None else check_window(window)
    chosen = None if channels is None else check_channels(channels)
    files = None if format is None else _label_files(format, out, queries)
    check_output(out)
    if not isinstance(image, list):
        check_apart(image, out)
    assistant = load_assistant(ckpt, threshold, calibrated_for, device, frozen_check)
    assistant.empty_masks = empty_masks or assistant.empty_masks
    assistant.max_new_tokens = max_new_tokens or assistant.max_new_tokens
    assistant.longest_list = longest_list or assistant.longest_list
    failed = answer_images(
        assistant, images, queries, out, decoding, seen, masks_on, files, None, chosen, divided, geojson, batch_size
    )
    print(f"{len(images) - len(failed)} of {len(images)} images answered in {out}")
    for error in failed:
        print(f"skipped: {error}", file=sys.stderr)
    if len(failed) == len(images):
        raise RecordError(f"image: none of {len(images)} could be read, the first because: {failed[0]}")


def load_assistant(
    ckpt: Path | None,
    threshold: float | None,
    calibrated_for: str | None,
    device: str,
    frozen_check: bool,
) -> "Assistant":
    """Load the assistant of a command line, and check what else concerns all its answers.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold or the device cannot be used.
    """
    check_threshold(threshold)
    from lasagna.core.device import find_device
    from lasagna.modules.checkpoints.load import load

    target = find_device(device)
    if ckpt is None:
        print("The small assistant of the package answers; it knows drawn scenes only. Name another one with --ckpt.")
    assistant = load(ckpt, calibrated=calibrated_for, frozen_check=frozen_check).to(target)
    if threshold is not None:
        assistant.presence_threshold = threshold
    return assistant


def read_queries(
    query: str | None = None,
    refer: str | None = None,
    reason: str | None = None,
    ask: str | None = None,
    explain: str | None = None,
    own: Mapping[str, str] | None = None,
    ckpt: Path | None = None,
) -> "list[Query]":
    """Return the queries of a command line, checked as far as is possible without the model.

    The arguments are those of ``predict``.

    Raises:
        QueryError: If there is no query, one is empty, or one names something twice.
        CheckpointError: If a kind is called by its name, and the checkpoint cannot be read for it.
    """
    from lasagna.core.batch import Query
    from lasagna.core.prompt_formats import PAPER
    from lasagna.core.query_kind import CATEGORY_LIST, QUESTION, REASONING, REASONING_WITH_EXPLANATION, REFERRING

    texts = {CATEGORY_LIST: query, REFERRING: refer, REASONING: reason, QUESTION: ask}
    texts |= {REASONING_WITH_EXPLANATION: explain, **own_texts(own or {}, ckpt)}
    queries = [Query(0, kind, _names(kind, text)) for kind, text in texts.items() if text is not None]
    if not queries:
        raise QueryError("query: nothing is asked; give --query, --refer, --reason, --explain, --ask or --own")
    for asked in queries:
        if asked.kind in PAPER.prompts:
            PAPER.check(asked.kind, asked.names)
    return queries


def _label_files(text: str, out: Path, queries: "Sequence[Query]") -> "LabelFiles":
    """Return what writes files of labels in the forms that a text names.

    Raises:
        QueryError: If a form is not known or cannot hold all names, or nothing is asked that masks of a name answer.
    """
    from lasagna.integrations.label_files import LabelFiles, read_formats

    names = [name for query in queries if query.kind.masks and not query.kind.grounded for name in query.names]
    if not names:
        raise QueryError("format: files of labels need names, and none is asked for; add --query or --refer")
    return LabelFiles(out, read_formats(text), names)


def _names(kind: "QueryKind", text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if kind.many else (text.strip(),)


def find_images(image: Path) -> list[Path]:
    """Return the image file, or the images of a folder sorted by name.

    Raises:
        RecordError: If there is no such file or folder, or no image in it.
    """
    if image.is_file():
        return [image]
    if not image.is_dir():
        raise RecordError(f"image: there is no file or folder {str(image)!r}")
    files = sorted(image.iterdir())
    images = [file for file in files if file.suffix.lower() in SUFFIXES]
    if unread := [end for file in files if (end := file.suffix.lower()) in UNREAD]:
        ends = ", ".join(sorted({*unread}))
        told = f"skipped: files that end in {ends} ({len(unread)}); those that end in {', '.join(SUFFIXES)} are read"
        print(told, file=sys.stderr)
    if not images:
        more = ", and its folders are not searched: name one of them" if any(map(Path.is_dir, files)) else ""
        raise RecordError(
            f"image: {str(image)!r} holds no image; files that end in {', '.join(SUFFIXES)} are read{more}"
        )
    return images


def check_apart(images: Path, out: Path) -> None:
    """Check that answers are not written among the images of a folder, where their pictures would be asked about, too.

    Raises:
        OutputError: If they are.
    """
    if images.is_dir() and images.resolve() == out.resolve():
        raise OutputError(
            f"out: {out} holds the images, and pictures of answers would be asked about next; choose another"
        )


def find_shown(images: Sequence[Path]) -> list[Path]:
    """Return image files that are shown together.

    Raises:
        RecordError: If there is none, or one is no file.
    """
    if not images:
        raise RecordError("image: the list is empty; give at least one file")
    if missing := [image for image in images if not image.is_file()]:
        raise RecordError(f"image: there is no file {str(missing[0])!r}; several images must be files, not folders")
    return list(images)
