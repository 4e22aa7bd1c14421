"""The files of COCO's formats: annotations and results of objects, and of panoptic segments.

Sources: the pages "Data format" and "Results format" of cocodataset.org; ``cocodataset/panopticapi`` for the colours of
the PNG files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from lasagna.core.masks import RLEMask
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.core.storage import whole_file, write_json
from lasagna.errors import ConfigError
from lasagna.tasks.evaluation.predictions import StoredLines, read_lines
from lasagna.tasks.evaluation.runs import EvaluationRun
from lasagna.tasks.evaluation.scoring import Answered, stored_rows
from lasagna.tasks.metrics.average_precision import image_annotations
from lasagna.tasks.metrics.panoptic_quality import Segments, answered_segments, true_segments

FOLDER = "coco"
"""Folder of the files in that of a report."""


def write_coco_files(runs: Sequence[EvaluationRun], folder: Path, out: Path) -> list[Path]:
    """Write the answers of all runs that ask for objects, and their truth with the same ids.

    A run with a metric whose ``coco_format`` is "instances" has ``annotations.json``, which ``pycocotools.coco.COCO``
    reads, and ``results.json`` for its ``loadRes``. One with "panoptic" has both, each beside a folder of PNG files, as
    ``panopticapi`` reads them. Controls are left out.

    Args:
        runs: The runs of the evaluation.
        folder: The folder of the evaluation.
        out: Where to write; each run has a folder of its own name there.

    Returns:
        The folders written.

    Raises:
        ConfigError: If no run asks for objects.
        OutputError: If a file cannot be written.
    """
    check_coco_files(runs)
    lines, written = read_lines(folder), []
    for run in filter(_formats, runs):
        place, formats = out / run.name, _formats(run)
        if "panoptic" in formats:
            _write_panoptic(run, lines, folder, place, frozenset(getattr(formats["panoptic"], "stuff", ())))
        else:
            _write_instances(run, lines, folder, place)
        written.append(place)
    return written


def check_coco_files(runs: Sequence[EvaluationRun]) -> None:
    """Check that some run asks for objects, before anything is answered.

    Raises:
        ConfigError: If none does.
    """
    if not any(map(_formats, runs)):
        raise ConfigError(
            "coco: no source asks for objects, whose masks COCO's files hold; choose data with the task Instances or "
            "Panoptic, or one of your own with a metric that states its `coco_format`, or leave --coco out"
        )


def category_ids(manifest: Manifest) -> dict[str, int]:
    """Return an id for each category: its value in the label maps if each has one, or else its position from 1."""
    values = {name: value for value, name in sorted(manifest.labels.items(), reverse=True) if value > 0}
    if all(name in values for name in manifest.categories):
        return {name: values[name] for name in manifest.categories}
    return {name: number for number, name in enumerate(manifest.categories, start=1)}


def image_ids(keys: Sequence[str]) -> dict[str, int]:
    """Return an id for each record: the number that its key is, as in COCO's file names, or else its position from 1.

    Args:
        keys: The keys of all records.
    """
    numbers = [int(key) for key in keys if key.isascii() and key.isdigit()]
    if len(set(numbers)) == len(keys):
        return dict(zip(keys, numbers, strict=True))
    return {key: number for number, key in enumerate(keys, start=1)}


def _formats(run: EvaluationRun) -> dict[str, Any]:
    """Return the first metric for each of COCO's formats in which a run's answers are written."""
    metrics = [] if run.controls else reversed(list(run.task.metrics(run.source.manifest.categories).values()))
    found = {getattr(metric, "coco_format", ""): metric for metric in metrics}
    return {name: metric for name, metric in found.items() if name}


def _rows(
    run: EvaluationRun, lines: StoredLines, folder: Path
) -> Iterator[tuple[dict[str, Any], list[Answered], tuple[int, int]]]:
    """Yield COCO's entry for each image, its dialogues with their answers, and its size."""
    ids = image_ids([key for name, key in lines if name == run.name])
    for sample, rows in stored_rows(run, lines, folder, {}):
        height, width = sample.record.size
        key = sample.record.key
        yield {"id": ids[key], "file_name": key, "height": height, "width": width}, rows, sample.record.size


def _write_instances(run: EvaluationRun, lines: StoredLines, folder: Path, place: Path) -> None:
    ids = category_ids(run.source.manifest)
    known = {normalise(name): number for name, number in ids.items()}
    images, true, found = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for image, rows, _ in _rows(run, lines, folder):
        images.append(image)
        for dialogue, answers in rows:
            annotations, results = image_annotations(dialogue, answers[run.decodings[0]], known)
            for annotation in annotations:
                area = float(coco.area(annotation["segmentation"]))
                box = coco.toBbox(annotation["segmentation"]).tolist()
                # ids begin with 1, since pycocotools takes 0 for "not matched"
                numbered = {"id": len(true) + 1, "image_id": image["id"], "area": area, "bbox": box}
                true.append(numbered | annotation)
            found += [{"image_id": image["id"], **result} for result in results]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    write_json(place / "annotations.json", {"images": images, "categories": categories, "annotations": true})
    write_json(place / "results.json", found)


def _write_panoptic(run: EvaluationRun, lines: StoredLines, folder: Path, place: Path, stuff: frozenset[str]) -> None:
    ids = category_ids(run.source.manifest)
    known = {normalise(name): number for name, number in ids.items()}
    images, true, found = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for image, rows, size in _rows(run, lines, folder):
        images.append(image)
        for dialogue, answers in rows:
            answered = answered_segments(answers[run.decodings[0]], size, stuff)
            true.append(_annotation(true_segments(dialogue, size, stuff), image, known, place / "annotations"))
            found.append(_annotation(answered, image, known, place / "results"))
    categories = [
        {"id": number, "name": name, "isthing": int(normalise(name) not in stuff)} for name, number in ids.items()
    ]
    facts = {"images": images, "categories": categories}
    write_json(place / "annotations.json", facts | {"annotations": true})
    write_json(place / "results.json", facts | {"annotations": found})


def _annotation(segments: Segments, image: Mapping[str, Any], ids: Mapping[str, int], folder: Path) -> dict[str, Any]:
    """Write the PNG of an image's segments; return its annotation."""
    name = f"{image['id']:012d}.png"
    with whole_file(folder / name) as draft:
        Image.fromarray(id_colours(segments.numbers)).save(draft, "PNG")
    infos = []
    for number, category in enumerate(segments.names, start=1):
        code = RLEMask.from_array(segments.numbers == number).to_json()
        facts = {"id": number, "category_id": ids[category], "iscrowd": int(number in segments.crowds)}
        infos.append(facts | {"area": int(coco.area(code)), "bbox": coco.toBbox(code).tolist()})
    return {"image_id": image["id"], "file_name": name, "segments_info": infos}


def id_colours(numbers: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return numbers of segments as colours: the number is R + 256 G + 65536 B.

    Args:
        numbers: ``[H, W]``; 0 where there is no segment.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], axis=-1).astype(np.uint8)
