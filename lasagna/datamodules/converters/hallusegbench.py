"""HalluSegBench: pairs of photographs in which one thing was exchanged for another.

Source: Li et al. (arXiv 2506.21546); ``PLAN-Lab/HalluSegBench``, README, ``get_consistency.py`` and
``generate_json.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from lasagna.core.image_pairs import Side, pair_group
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Phrase, Question, Record
from lasagna.datamodules.converters.common.base import Converter, ItemFiles, LazySplits, Split
from lasagna.datamodules.converters.common.entries import check_entries, check_inner, read_json
from lasagna.datamodules.converters.common.files import LayoutError, read_image_file
from lasagna.datamodules.converters.common.object_maps import mask_pixels
from lasagna.datamodules.converters.common.phrases import key_of
from lasagna.datamodules.shards.tally import ReadResult, Skipped

FILE = "data.json"

MANIFEST = Manifest(
    name="hallusegbench",
    unannotated="unknown",
    origin="HalluSegBench (PLAN-Lab/HalluSegBench): photographs and edited ones",
    licence="OSL-3.0; photographs under the terms of their origins, such as COCO",
)
FIELDS = {"factual_image_path": str, "factual_mask_path": str, "counterfactual_image_path": str}
TEXTS = (("factual_label", "counterfactual_label"), ("question", "counterfactual_question"))
"""Fields of the phrases, or of the questions, about the thing and about the one in its place."""

MASKS = ("counterfactual_mask_path", "counterfactual_mask")
"""Fields that may name the mask on the edited image."""


@dataclass(frozen=True)
class PairedImage:
    """One image of a pair.

    Args:
        key: Name of the record.
        pair: Name of the pair.
        side: Which of its images.
        image: The image file.
        mask: The file that is not black where the thing is.
        texts: What asks for the thing that is there, and what for the other one.
        asks: Whether they are questions rather than phrases.
    """

    key: str
    pair: str
    side: Side
    image: Path
    mask: Path
    texts: tuple[str, str]
    asks: bool


class HalluSegBench(Converter):
    """HalluSegBench; each pair makes two records, each asked for what is there and for what is on the other image.

    Args:
        source: The folder of a ``data.json``, or the one that holds such folders (``refer_seg``, ``reason_seg_val``
            and ``reason_seg_test``), each of which is a split.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return the splits; that of a folder of its own is "test".

        Raises:
            LayoutError: If there is no ``data.json``; later, if one is broken.
        """
        found = {path.parent.name: path for path in sorted(self.source.glob(f"*/{FILE}"))}
        parts = {"test": self.source / FILE} if (self.source / FILE).is_file() else found
        if not parts:
            raise LayoutError(
                f"source: {self.source} holds no {FILE}; expected it there or in its folders (refer_seg, "
                "reason_seg_val, reason_seg_test), beside the folders of images and masks that it names"
            )
        return LazySplits({part: partial(self._split, path, part) for part, path in parts.items()})

    def _split(self, path: Path, part: str) -> Split:
        entries = read_json(path)
        check_entries(entries, FIELDS, str(path))
        items = [item for rank, entry in enumerate(entries) for item in _pair(path, part, rank, entry)]
        return Split(MANIFEST, items, _read, ItemFiles(items), annotations=(path,))


def _pair(path: Path, part: str, rank: int, entry: Mapping[str, Any]) -> Iterator[PairedImage]:
    where, name = f"{path}: entry {rank}", f"{part}-{rank:06d}"
    asks = TEXTS[0][0] not in entry
    texts, mask = TEXTS[asks], next((field for field in MASKS if field in entry), MASKS[0])
    for field in (*texts, mask):
        if not isinstance(entry.get(field), str) or not entry[field].strip():
            raise LayoutError(f"{where}: {field!r} must be a text, got {entry.get(field)!r}; download it again")
    true, other = (entry[field].strip() for field in texts)
    sides: dict[Side, tuple[str, str, tuple[str, str]]] = {
        "factual": ("factual_image_path", "factual_mask_path", (true, other)),
        "counterfactual": ("counterfactual_image_path", mask, (other, true)),
    }
    for side, (image, drawn, asked) in sides.items():
        files = [path.parent / check_inner(entry[field], where) for field in (image, drawn)]
        # the number of COCO's photograph stands in both keys, so that training can leave it out
        key = f"{key_of(PurePosixPath(entry['factual_image_path']).name)}~{rank:06d}-{side}"
        yield PairedImage(key, name, side, files[0], files[1], asked, asks)


def _read(item: PairedImage) -> ReadResult:
    """Read one image of a pair; one whose mask has no pixel is left out.

    A mask of another size than its image is scaled to it, as the scripts of the authors scale predictions.

    Raises:
        RecordError: If the image or the mask is broken.
    """
    data, size = read_image_file(item.image)
    pixels = mask_pixels(item.mask, str(item.mask))
    if pixels.shape != size:
        pixels = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.NEAREST))
    if not pixels.any():
        return ReadResult(None, (Skipped("image of a pair whose mask has no pixel", item.key),))
    group = pair_group(item.pair, item.side)
    masks = ((RLEMask.from_array(pixels),), ())
    asked = list(zip(item.texts, masks, strict=True))
    if item.asks:
        questions = tuple(Question(text, masks=found, group=group) for text, found in asked)
        return ReadResult(Record(item.key, data, size, MANIFEST, questions=questions))
    phrases = tuple(Phrase(text, found, group=group) for text, found in asked)
    return ReadResult(Record(item.key, data, size, MANIFEST, phrases=phrases))
