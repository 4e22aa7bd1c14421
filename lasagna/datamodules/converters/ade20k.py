"""ADE20K for scene parsing: one of 150 classes for nearly every pixel.

Source: Zhou et al. (CVPR 2017, IJCV 2019), release ``ADEChallengeData2016``; ``CSAILVision/sceneparsing``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import LayoutError, first_folder, read_file, text_lines
from lasagna.datamodules.converters.common.label_maps import files_by_key, labelled_split, pair_up
from lasagna.datamodules.converters.common.names import Names, named_manifest, packaged_names

OTHER = 0
"""Label value of pixels outside of the 150 classes; ignored, as in the benchmark."""

ORIGINAL = {90: "television receiver"}
"""Names of LaSagnA's code (``utils/sem_seg_dataset.py``) that are not the first of the release."""

PARTS = {"train": "training", "val": "validation"}
NAMES_FILE = "objectInfo150.txt"
EXPECTED = """
  images/{training,validation}/ADE_*.jpg
  annotations/{training,validation}/ADE_*.png
  objectInfo150.txt (optional; names are read from it)"""


class ADE20K(Converter):
    """ADE20K as released for the scene parsing challenge; label files stay as they are (0 is other, then 1 to 150).

    The first synonym of a class is its name, the others are aliases. Names come from the release's
    ``objectInfo150.txt``, or from this package's copy of the list if that file is missing.

    Args:
        source: The folder ``ADEChallengeData2016``, or the one that holds it.
        original_names: Whether classes have the names that LaSagnA's code asks for, which its weights learned:
            "television receiver" instead of "television".
    """

    def __init__(self, source: Path, original_names: bool = False) -> None:
        self.source = source
        self.original_names = original_names

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose folders exist.

        Raises:
            LayoutError: If the folder does not have the expected layout; later, if a split has images but no label
                files.
        """
        inner = self.source / "ADEChallengeData2016"
        root = first_folder([self.source / "annotations", inner / "annotations"], EXPECTED).parent
        manifest = ade20k_manifest(root / NAMES_FILE, self.original_names)
        parts = {}
        for name, part in PARTS.items():
            images, labels = root / "images" / part, root / "annotations" / part
            if images.is_dir() or labels.is_dir():
                parts[name] = partial(_split, manifest, images, labels)
        if not parts:
            raise LayoutError(f"source: {root} has neither training nor validation images; expected{EXPECTED}")
        return LazySplits(parts)


def _split(manifest: Manifest, images: Path, labels: Path) -> Split:
    pairs = pair_up(files_by_key(images, (".jpg",)), files_by_key(labels, (".png",)), str(images))
    return labelled_split(manifest, pairs, read_file)


def ade20k_manifest(names_file: Path, original_names: bool = False) -> Manifest:
    """Return the manifest, with names from a release's ``objectInfo150.txt`` if that exists.

    Args:
        names_file: The file.
        original_names: Whether classes have the names that LaSagnA's code asks for.

    Raises:
        LayoutError: If the file exists but is not such a list.
    """
    names = dict(_read_names(names_file) if names_file.is_file() else packaged_names("ade20k"))
    for value, asked in ORIGINAL.items() if original_names else ():
        names[value] = (asked, *(name for name in names[value] if name != asked))
    return named_manifest(
        "ade20k-150",
        names,
        origin="ADE20K, scene parsing challenge 2016 (150 classes), MIT CSAIL",
        licence="images for non-commercial research and education; annotations BSD-3-Clause",
        void=(OTHER,),
    )


def _read_names(path: Path) -> Names:
    """Read the release's list: number, share, counts and synonyms, separated by tabs."""
    try:
        rows = [line.split("\t") for line in text_lines(path)[1:] if line.strip()]
        return {int(row[0]): tuple(name.strip() for name in row[-1].split(",")) for row in rows}
    except (ValueError, IndexError) as error:
        raise LayoutError(f"{path}: not the list of classes ({error}); take the txt, not the csv") from error
