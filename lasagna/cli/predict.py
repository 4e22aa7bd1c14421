"""Answers about picture files: overlays as PNG, and everything as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lasagna.errors import LasagnaError, QueryError, RecordError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.core.batch import Query
    from lasagna.core.dialogue import Answer
    from lasagna.modules.assistant import Assistant

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files of a folder that are taken for pictures."""


def predict(
    ckpt: Path,
    image: Path,
    query: str | None = None,
    refer: str | None = None,
    reason: str | None = None,
    explain: str | None = None,
    ask: str | None = None,
    out: Path = Path("predictions"),
    decoding: Literal["ordered", "free"] = "ordered",
    threshold: float | None = None,
    calibrated_for: str | None = None,
    device: str = "auto",
    frozen_check: bool = True,
) -> None:
    """Answer queries about a picture, or about each picture of a folder.

    Several kinds of queries can be asked together; a picture is encoded once for all of them.

    Args:
        ckpt: A checkpoint that training wrote.
        image: A picture file, or a folder of pictures.
        query: Names to look for, with commas between them, e.g. "sun, dog, house".
        refer: A phrase that names something, e.g. "the ball left of the house".
        reason: A description that does not name it, e.g. "what one could live in".
        explain: A description as for ``reason``, to be answered by a mask and then the reason in words, as models that
            learned explanations can (ReasonSeg); decoded freely in any case.
        ask: A question to be answered in words, e.g. "how many balls are there".
        out: Folder for one JSON a picture and one PNG a query.
        decoding: "ordered" decides on every name in the order asked, "free" lets the model write.
        threshold: Score from which ordered decoding says that a name is present, in [0, 1]; None for what ``lasagna
            calibrate`` found for the checkpoint, or else 0.5.
        calibrated_for: Data set whose threshold of the calibration is taken; None for that over all.
        device: Where to compute: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        frozen_check: Whether the frozen weights must be those that the checkpoint was trained with.

    Raises:
        QueryError: If nothing is asked, a query is empty, or it is longer than the model takes.
        RecordError: If there is no such picture, or none that can be read.
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold or the device cannot be used.
    """
    queries = read_queries(query, refer, reason, ask, explain)
    pictures = find_pictures(image)
    if threshold is not None and not 0 <= threshold <= 1:
        raise LasagnaError(f"threshold: expected a number in [0, 1], got {threshold}")
    assistant = _assistant(ckpt, device, calibrated_for, frozen_check)
    if threshold is not None:
        assistant.presence_threshold = threshold
    failed = _answer_all(assistant, pictures, queries, out, decoding)
    print(f"{len(pictures) - len(failed)} of {len(pictures)} pictures answered in {out}")
    for fault in failed:
        print(f"left out: {fault}", file=sys.stderr)
    if len(failed) == len(pictures):
        raise RecordError(f"image: none of {len(pictures)} files could be read, the first because: {failed[0]}")


def read_queries(
    query: str | None = None,
    refer: str | None = None,
    reason: str | None = None,
    ask: str | None = None,
    explain: str | None = None,
) -> list[Query]:
    """Check what is asked, as far as it can be without the model.

    Raises:
        QueryError: If nothing is asked, or a query is empty or has doubled names.
    """
    from lasagna.core.batch import Query
    from lasagna.core.prompt_formats import PAPER

    queries = [] if query is None else [Query(0, "categories", tuple(name.strip() for name in query.split(",")))]
    queries += [] if refer is None else [Query(0, "referring", (refer.strip(),))]
    queries += [] if reason is None else [Query(0, "reasoning", (reason.strip(),))]
    queries += [] if ask is None else [Query(0, "question", (ask.strip(),))]
    queries += [] if explain is None else [Query(0, "reasoning_with_explanation", (explain.strip(),))]
    if not queries:
        raise QueryError("query: nothing is asked; give --query, --refer, --reason, --explain or --ask")
    for asked in queries:
        PAPER.check(asked.kind, asked.names)
    return queries


def find_pictures(image: Path) -> list[Path]:
    """Return the picture file, or the pictures of a folder by name.

    Raises:
        RecordError: If there is no such file or folder, or no picture in it.
    """
    if image.is_file():
        return [image]
    if not image.is_dir():
        raise RecordError(f"image: there is no file or folder {str(image)!r}")
    pictures = sorted(path for path in image.iterdir() if path.suffix.lower() in SUFFIXES)
    if not pictures:
        raise RecordError(f"image: {str(image)!r} holds no picture; files that end in {', '.join(SUFFIXES)} are taken")
    return pictures


def _answer_all(
    assistant: Assistant,
    pictures: Sequence[Path],
    queries: Sequence[Query],
    out: Path,
    decoding: Literal["ordered", "free"],
) -> list[RecordError]:
    from rich.progress import track

    from lasagna.core.record import decode_image
    from lasagna.modules.contract import check_queries

    check_queries(assistant.format, queries, decoding)
    failed = []
    stems = [path.stem for path in pictures]
    for path in track(pictures, "Answering", disable=len(pictures) == 1):
        try:
            pixels = decode_image(path.read_bytes(), str(path), upright=True)
        except (RecordError, OSError) as error:
            failed.append(RecordError(str(error)))
            continue
        answers = _ask(assistant, pixels, queries, decoding)
        _write(out, path.stem if stems.count(path.stem) == 1 else path.name, path, pixels, queries, answers)
    return failed


def _ask(
    assistant: Assistant, pixels: NDArray[np.uint8], queries: Sequence[Query], decoding: Literal["ordered", "free"]
) -> list[Answer]:
    """Answer all queries about a picture, which is encoded once; explanations have to be written."""
    encoded, geometry = assistant.encode_image(pixels)
    explained = [query for query in queries if query.kind == "reasoning_with_explanation"]
    others = [query for query in queries if query.kind != "reasoning_with_explanation"]
    answers = dict(zip(others, assistant.answer_batch(encoded, [geometry], others, decoding), strict=True))
    answers |= zip(explained, assistant.answer_batch(encoded, [geometry], explained, "free"), strict=True)
    return [answers[query] for query in queries]


def _write(
    out: Path,
    name: str,
    path: Path,
    pixels: NDArray[np.uint8],
    queries: Sequence[Query],
    answers: Sequence[Answer],
) -> None:
    from lasagna.core.answer_json import answer_json
    from lasagna.tasks.visualization.answer import draw_answer

    out.mkdir(parents=True, exist_ok=True)
    for query, answer in zip(queries, answers, strict=True):
        text = answer.text if query.kind in ("question", "reasoning_with_explanation") else ""
        draw_answer(pixels, ", ".join(query.names), answer.entries, text=text).save(out / f"{name}-{query.kind}.png")
    parts = [answer_json(query, answer) for query, answer in zip(queries, answers, strict=True)]
    content = {"image": path.name, "size": list(pixels.shape[:2]), "answers": parts}
    (out / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _assistant(ckpt: Path, device: str, calibrated: str | None, frozen_check: bool) -> Assistant:
    from lasagna.core.device import find_device
    from lasagna.modules.checkpoints.load import load

    place = find_device(device)
    return load(ckpt, calibrated=calibrated, frozen_check=frozen_check).to(place)
