"""Data sets in REFER's layout whose sentences may fit nothing: FP-RefCOCO, R-RefCOCO (each also + and g) and Ref-ZOM.

Source: Wu et al. (SESAME, CVPR 2024), ``see-say-segment/sesame``; Wu et al. (arXiv 2209.09554),
``jianzongwu/robust-ref-seg``; Hu et al. (ICCV 2023), ``toggle1995/RIS-DMMI``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lasagna.datamodules.converters.common.coco_regions import Place
from lasagna.datamodules.converters.common.files import first_folder
from lasagna.datamodules.converters.common.refer_files import COCO_IMAGES, image_places
from lasagna.datamodules.converters.refer import ReferLayout

Base = Literal["refcoco", "refcoco+", "refcocog"]

BOTH_IMAGES = COCO_IMAGES.with_name("trainval2014")
_YEAR = re.compile(r"COCO_(train|val)2014_")


class ChangedRefCOCO(ReferLayout):
    """RefCOCO, RefCOCO+ or RefCOCOg with sentences that fit nothing; a subclass says how they are marked.

    Args:
        source: The folder that holds the data set's folder and ``images``, or the data set's folder itself.
        base: The data set whose sentences were changed or added to.
        images: The folder of the images, if it is not in its usual place.
        split_by: Author of the splits, as in the name of the file of references; by default the usual ones.
    """

    def __init__(
        self, source: Path, base: Base = "refcoco", images: Path | None = None, split_by: str | None = None
    ) -> None:
        super().__init__(source, images, split_by)
        self.base = base


class FPRefCOCO(ChangedRefCOCO):
    """FP-RefCOCO, FP-RefCOCO+ or FP-RefCOCOg: sentences with a false premise (``is_false_premise``) fit nothing.

    By default the splits are those that SESAME is scored on ("berkeley_exclude_unified"), or else "berkeley".
    """

    @property
    def release(self) -> tuple[str, Sequence[str], Sequence[str]]:
        """Name of the data set, its folder, and the usual authors of the splits."""
        return f"fp-{self.base}", [f"fp{self.base}"], ["berkeley_exclude_unified", "berkeley"]

    def fits(self, reference: Mapping[str, Any], sentence: Mapping[str, Any]) -> bool:
        """Return whether the premise of a sentence is true."""
        return not sentence.get("is_false_premise", False)


class RRefCOCO(ChangedRefCOCO):
    """R-RefCOCO, R-RefCOCO+ or R-RefCOCOg: wrong sentences about an object (``exist`` is false) fit nothing."""

    @property
    def release(self) -> tuple[str, Sequence[str], Sequence[str]]:
        """Name of the data set, its possible folders, and the usual authors of the splits."""
        author = "umd" if self.base == "refcocog" else "unc"
        return f"r-{self.base}", [f"r{self.base}", f"R-{self.base}"], [author, f"{author}_exclude_unified"]

    def fits(self, reference: Mapping[str, Any], sentence: Mapping[str, Any]) -> bool:
        """Return whether a sentence is one of the original ones."""
        return bool(sentence.get("exist", True))

    def group(self, reference: Mapping[str, Any]) -> str:
        """Return the number of the reference, whose true and wrong sentences are scored together."""
        return str(reference.get("ref_id", ""))


class RefZOM(ReferLayout):
    """Ref-ZOM: sentences that fit no, one or many objects, on images of COCO's train2014 and val2014.

    ``images`` may also be the folder that holds ``train2014`` and ``val2014``.
    """

    @property
    def release(self) -> tuple[str, Sequence[str], Sequence[str]]:
        """Name of the data set, its folder, and the author of the splits."""
        return "ref-zom", ["ref-zom"], ["final"]

    def fits(self, reference: Mapping[str, Any], sentence: Mapping[str, Any]) -> bool:
        """Return whether a reference has a target."""
        return bool(reference.get("source") != "zero")

    def place(self, expected: str) -> Place:
        """Return where images are: all in ``trainval2014``, or those of each year's part in a folder of its own.

        Raises:
            LayoutError: If there is no folder of images.
        """
        places = [self.images] if self.images else image_places(self.source, BOTH_IMAGES)
        apart = [self.images / COCO_IMAGES.name] if self.images else image_places(self.source, COCO_IMAGES)
        folder = first_folder([*apart, *places], expected)
        if folder not in apart:
            return lambda image: folder / image["file_name"]
        return lambda image: folder.parent / _part(image["file_name"]) / image["file_name"]


def _part(name: str) -> str:
    found = _YEAR.match(name)
    return f"{found[1]}2014" if found else COCO_IMAGES.name
