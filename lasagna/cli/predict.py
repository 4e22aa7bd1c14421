"""The ``lasagna predict`` command: answers about image files, drawn as PNG and written as JSON."""

# without `from __future__ import annotations`, whose texts the parser resolves by running the imports for type checkers
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lasagna.cli.kinds import own_texts
from lasagna.cli.visual_prompts import with_pointing
from lasagna.core.image_places import place_of
from lasagna.core.storage import check_output, whole_file, write_json
from lasagna.errors import LasagnaError, QueryError, RecordError, check_counts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.core.batch import Query
    from lasagna.core.dialogue import Answer
    from lasagna.core.query_kind import QueryKind
    from lasagna.integrations.label_files import LabelFiles
    from lasagna.modules.assistant import Assistant

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Suffixes of the files of a folder that are read as images."""


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
    decoding: Literal["ordered", "free"] = "ordered",
    threshold: float | None = None,
    calibrated_for: str | None = None,
    empty_masks: Literal["present", "absent"] | None = None,
    window: tuple[float, float] | None = None,
    max_new_tokens: int | None = None,
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
            FILE.json#1 is the second of several masks of the name in a JSON file.
        out: Folder for one JSON file per image and one PNG file per query.
        decoding: "ordered" decides on each name in the order of the query, "free" lets the model write.
        threshold: Score in [0, 1] from which ordered decoding calls a name present; by default the one that ``lasagna
            calibrate`` found for the checkpoint, or 0.5.
        calibrated_for: Data set whose calibrated threshold is used; by default that of all data sets together.
        empty_masks: What a name counts as that is called present and whose mask has no pixel; by default as the
            checkpoint says, which is "present" unless it was set.
        window: Values of images of more than 8 bits that become black and white, e.g. "[0, 4095]"; by default those
            of all 16 bits.
        max_new_tokens: Most tokens of an answer that the model writes freely; by default as the checkpoint says.
        device: Device to compute on: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        frozen_check: Whether to require the frozen weights that the checkpoint was trained with.
        masks_on: Position of the image, among those shown together, that the masks belong to: by default the last.
        format: Forms of files of labels that are written as well, separated by commas: "coco", "labelme", "yolo" or
            "png".

    Raises:
        QueryError: If there is no query, one is empty, one is longer than the model takes, or points at nothing.
        RecordError: If there is no such image, or none can be read, or no such mask.
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold, the window or the device cannot be used.
        OutputError: If the answers cannot be written.
    """
    queries = read_queries(query, refer, reason, ask, explain, own, ckpt)
    images = [find_shown(image)] if isinstance(image, list) else [[file] for file in find_images(image)]
    place_of(masks_on, len(images[0]), "image")
    pointed = images[0][masks_on] if isinstance(image, list) else image
    queries = with_pointing(queries, pointed, points, boxes, mask)
    check_counts(max_new_tokens=max_new_tokens)
    files = None if format is None else _label_files(format, out, queries)
    check_output(out)
    assistant = load_assistant(ckpt, threshold, calibrated_for, window, device, frozen_check)
    assistant.empty_masks = empty_masks or assistant.empty_masks
    assistant.max_new_tokens = max_new_tokens or assistant.max_new_tokens
    failed = answer_images(assistant, images, queries, out, decoding, window, masks_on, files)
    print(f"{len(images) - len(failed)} of {len(images)} images answered in {out}")
    for error in failed:
        print(f"skipped: {error}", file=sys.stderr)
    if len(failed) == len(images):
        raise RecordError(f"image: none of {len(images)} could be read, the first because: {failed[0]}")


def load_assistant(
    ckpt: Path | None,
    threshold: float | None,
    calibrated_for: str | None,
    window: tuple[float, float] | None,
    device: str,
    frozen_check: bool,
) -> "Assistant":
    """Load the assistant of a command line, and check what else concerns all its answers.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold, the window or the device cannot be used.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise LasagnaError(f"threshold: expected a number in [0, 1], got {threshold}")
    from lasagna.core.device import find_device
    from lasagna.core.images import check_window
    from lasagna.modules.checkpoints.load import load

    if window is not None:
        check_window(window)
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
    images = sorted(path for path in image.iterdir() if path.suffix.lower() in SUFFIXES)
    if not images:
        raise RecordError(f"image: {str(image)!r} holds no image; files that end in {', '.join(SUFFIXES)} are read")
    return images


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


def answer_images(
    assistant: "Assistant",
    images: Sequence[Sequence[Path]],
    queries: "Sequence[Query]",
    out: Path,
    decoding: Literal["ordered", "free"],
    window: tuple[float, float] | None = None,
    masks_on: int = -1,
    files: "LabelFiles | None" = None,
    stems: Mapping[Path, str] | None = None,
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

    Returns:
        The errors of the images that could not be read.
    """
    from rich.progress import track

    from lasagna.core.image_files import decode_image
    from lasagna.modules.contract import check_queries
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
            shown = [decode_image(each.read_bytes(), str(each), upright=True, window=window) for each in paths]
        except (RecordError, OSError) as error:
            failed.append(RecordError(str(error)))
            continue
        check_visual(assistant.mask_head, queries, [shown[masks_on].shape[:2]])
        answers = _ask(assistant, shown, queries, decoding, masks_on)
        name = names[path]
        if files is not None:
            files.write(path, name, shown[masks_on].shape[:2], answers)
        written.append(_write(out, name, [path, *paths], shown[masks_on], queries, answers))
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


def _write(
    out: Path,
    name: str,
    paths: Sequence[Path],
    pixels: "NDArray[np.uint8]",
    queries: "Sequence[Query]",
    answers: "Sequence[Answer]",
) -> Path:
    from lasagna.core.answer_json import answer_json
    from lasagna.tasks.visualization.answer import draw_answer

    for query, answer in zip(queries, answers, strict=True):
        text = answer.words if query.kind.grounded else answer.text if query.kind.words else ""
        with whole_file(out / f"{name}-{query.kind}.png") as draft:
            draw_answer(pixels, ", ".join(query.names), answer.entries, text=text).save(draft, "PNG")
    parts = [answer_json(query, answer) for query, answer in zip(queries, answers, strict=True)]
    path, *shown = paths
    together = {"images": [each.name for each in shown]} if len(shown) > 1 else {}
    content = {"image": path.name, **together, "size": list(pixels.shape[:2]), "answers": parts}
    write_json(out / f"{name}.json", content, indent=2)
    return out / f"{name}.json"
