"""ReasonSeg: photographs with questions that need reasoning, and the masks that answer them.

Source: Lai et al., LISA (arXiv 2308.00692); ``dvlab-research/LISA``, ``utils/data_processing.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lasagna.core.json_text import parse_json
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Question, Record
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import POINTS, check_no_fractions
from lasagna.datamodules.converters.common.entries import read_json
from lasagna.datamodules.converters.common.files import LayoutError, read_upright_image_file
from lasagna.datamodules.converters.common.label_maps import files_by_key, pair_up
from lasagna.datamodules.converters.common.polygons import fill_polygon
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

SPLITS = ("train", "val", "test")
EXPLANATIONS = "explanatory/train.json"
MANIFEST = Manifest(
    name="reasonseg",
    unannotated="unknown",
    origin="ReasonSeg (Lai et al., LISA, arXiv 2308.00692); photographs of Open Images and ScanNet",
    licence="annotations Apache-2.0; photographs under the terms of Open Images (CC BY 2.0) and ScanNet",
)
EXPECTED = "{train,val,test}/<stem>.jpg with <stem>.json, and explanatory/train.json"
TARGET, IGNORED = 1, 255


@dataclass(frozen=True)
class Example:
    """A photograph with its annotation.

    Args:
        key: Name of the record.
        image: The photograph.
        annotation: The JSON file beside it.
        explanation: The answer in words, or empty.
    """

    key: str
    image: Path
    annotation: Path
    explanation: str


class ReasonSeg(Converter):
    """ReasonSeg; all questions about a photograph have the same mask, and their kind is "sentence" or "phrase".

    Polygons are drawn to the pixel as LISA's code draws them (``fill_polygon``), from large to small, so that a small
    region to ignore is visible within a target; shapes with the label "flag" are dropped. An explanation belongs to its
    photograph, so it is the answer to all of its questions, as in LISA. Photographs that an EXIF tag turns are stored
    upright, since they were annotated upright.

    Args:
        source: The folder, or its parent folder if it is called "ReasonSeg".
        explanations: Whether to read the answers in words, which exist for some of the training questions.
    """

    def __init__(self, source: Path, explanations: bool = True) -> None:
        self.source = source
        self.explanations = explanations

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose folders exist.

        Raises:
            LayoutError: If there is none; later, if one does not have the expected layout.
        """
        for root in (self.source, self.source / "ReasonSeg"):
            if found := [split for split in SPLITS if (root / split).is_dir()]:
                return LazySplits({split: partial(self._split, root, split) for split in found})
        raise LayoutError(f"source: {self.source} is not a ReasonSeg folder; expected {EXPECTED}")

    def _split(self, root: Path, split: str) -> Split:
        folder = root / split
        pairs = pair_up(files_by_key(folder, (".jpg",)), files_by_key(folder, (".json",)), str(folder))
        if not pairs:
            raise LayoutError(f"{folder}: it has no photographs; expected {EXPECTED}")
        words = _explanations(root) if split == "train" and self.explanations else {}
        items = [Example(pair.key, pair.image, pair.label, words.get(pair.image.name, "")) for pair in pairs]
        files = [path for item in items for path in (item.image, item.annotation)]
        return Split(MANIFEST, items, read_example, files, annotations=(root / EXPLANATIONS,) if words else ())


def read_example(item: Example) -> ReadResult:
    """Read one photograph with its questions.

    Raises:
        RecordError: If one of the files is broken.
    """
    image_bytes, size = read_upright_image_file(item.image)
    texts, kind, shapes = _read_annotation(item.annotation)
    areas, left_out = _areas(shapes, size, str(item.annotation))
    if not texts or not (areas == TARGET).any():
        return ReadResult(None, (*left_out, Skipped("no question, or no pixel of a target", str(item.annotation))))
    mask = RLEMask.from_array(areas == TARGET)
    questions = tuple(Question(text, item.explanation, (mask,), kind) for text in texts)
    ignore = RLEMask.from_array(areas == IGNORED) if (areas == IGNORED).any() else None
    record = Record(item.key, image_bytes, size, MANIFEST, questions=questions, ignore=ignore)
    return ReadResult(record, tuple(left_out))


def _areas(
    shapes: Sequence[Mapping[str, Any]], size: tuple[int, int], where: str
) -> tuple[NDArray[np.uint8], list[Skipped]]:
    """Return 0, ``TARGET`` or ``IGNORED`` for each pixel ``[H, W]``, and the shapes that were left out."""
    kept = [shape for shape in shapes if shape["label"].lower() != "flag"]
    polygons = [shape for shape in kept if len(shape["points"]) >= POINTS]
    left_out = [Skipped(f"polygon of fewer than {POINTS} points", where)] * (len(kept) - len(polygons))
    try:
        for shape in polygons:
            points = [point for point in shape["points"] if isinstance(point, list)]
            check_no_fractions([side for point in points for side in point], size, where)
        drawn = [(fill_polygon(shape["points"], size), shape["label"].lower()) for shape in polygons]
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    areas = np.zeros(size, dtype=np.uint8)
    # from large to small; of equal areas the first is drawn last, as in the official code
    for mask, label in sorted(drawn, key=lambda pair: int(pair[0].sum()))[::-1]:
        areas[mask] = IGNORED if "ignore" in label else TARGET
    return areas, left_out


def _read_annotation(path: Path) -> tuple[list[str], str, list[dict[str, Any]]]:
    """Return the questions, their kind and the shapes."""
    try:
        data = path.read_bytes()
        try:
            content = parse_json(data.decode("utf-8"))
        except UnicodeDecodeError:
            content = parse_json(data.decode("cp1252"))
        shapes = [{"label": str(shape["label"]), "points": list(shape["points"])} for shape in content["shapes"]]
        said = [content["text"]] if isinstance(content["text"], str) else content["text"]
        texts = [text for text in map(str.strip, said) if text]
        return texts, "sentence" if content["is_sentence"] else "phrase", shapes
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: not an annotation file of ReasonSeg ({error!r}); unpack it again") from error


def _explanations(root: Path) -> dict[str, str]:
    path = root / EXPLANATIONS
    try:
        return {str(entry["image"]): str(entry["outputs"]) for entry in read_json(path)}
    except (KeyError, TypeError) as error:
        raise LayoutError(f"{path}: not a list of explanations ({error!r}); unpack it again") from error
    except LayoutError as error:
        raise LayoutError(f"{error}, or convert without explanations by `--explanations false`") from error
