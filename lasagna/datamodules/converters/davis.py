"""DAVIS 2017: films whose main objects are drawn on every frame, and phrases about them.

Source: Pont-Tuset et al. (arXiv 1704.00675), davischallenge.org; Khoreva et al. (ACCV 2018) for the phrases.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Phrase, Record, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.clips import Clip, clips, frame_file, shown_places
from lasagna.datamodules.converters.common.entries import is_folder_name
from lasagna.datamodules.converters.common.files import LayoutError, read_image_file, text_lines
from lasagna.datamodules.converters.common.object_maps import read_numbers
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

VOID = 255
THING = "object"
"""The only category; DAVIS does not name its objects."""

MANIFEST = Manifest(
    name="davis-2017",
    categories=(THING,),
    unannotated="unknown",
    origin="DAVIS 2017 (davischallenge.org), frames of films; phrases of Khoreva et al.",
    licence="CC BY-NC 4.0",
)
EXPECTED = """
  ImageSets/2017/{train,val}.txt, JPEGImages/480p/<film>/<frame>.jpg, Annotations/480p/<film>/<frame>.png,
  and davis_text_annotations/*.txt for the phrases"""
_LINE = re.compile(r'(?P<film>\S+)\s+(?P<number>\d+)\s+"?(?P<text>.*?)"?\s*')


@dataclass(frozen=True)
class Drawn:
    """What is known about a frame.

    Args:
        labels: The file with the number of the object at each pixel.
        phrases: Phrases about the film, each with the number of the object that it means.
    """

    labels: Path
    phrases: tuple[tuple[str, int], ...]


class DAVIS(Converter):
    """DAVIS 2017; some frames of a film are shown together, and each of them has a record with its masks.

    The frames are at equal distances from the first to the last. Objects are told apart, as the category "object".
    Phrases are those of all files in ``davis_text_annotations``, each once; a phrase fits nothing on frames where its
    object is not visible. Void pixels (255) are ignored.

    Args:
        source: The folder that holds ``JPEGImages``, ``Annotations`` and ``ImageSets``.
        resolution: The folder of frames and annotations.
        shown: How many frames of a film are shown together; each image is stored so many times.
        texts: The folder of the phrases; by default ``davis_text_annotations`` in the source, if it is there.
    """

    def __init__(
        self,
        source: Path,
        resolution: Literal["480p", "Full-Resolution"] = "480p",
        shown: int = 4,
        texts: Path | None = None,
    ) -> None:
        self.source = source
        self.resolution = resolution
        self.shown = shown
        self.texts = texts

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose lists exist.

        Raises:
            LayoutError: If there is none; later, if frames or annotations are missing.
        """
        lists = {part: self.source / "ImageSets" / "2017" / f"{part}.txt" for part in ("train", "val")}
        found = {part: path for part, path in lists.items() if path.is_file()}
        if not found:
            raise LayoutError(f"source: {self.source} holds no lists of films of DAVIS 2017; expected{EXPECTED}")
        return LazySplits({part: partial(self._split, path) for part, path in found.items()})

    def _split(self, path: Path) -> Split:
        films = [line.strip() for line in text_lines(path) if line.strip()]
        phrases = self._phrases()
        items = [clip for film in films for clip in self._clips(film, phrases.get(film, {}), str(path))]
        if not items:
            raise LayoutError(f"{path}: none of its {len(films)} films has frames; expected{EXPECTED}")
        files = [file for clip in items for file in (*clip.frames, clip.annotation.labels)]
        return Split(MANIFEST, items, read_frame, files, annotations=(path,))

    def _clips(self, film: str, phrases: Mapping[tuple[str, int], None], where: str) -> Iterator[Clip]:
        if not is_folder_name(film):
            raise LayoutError(f"{where}: {film!r} is not the name of a film's folder; correct the list")
        labels = sorted((self.source / "Annotations" / self.resolution / film).glob("*.png"))
        pictures = self.source / "JPEGImages" / self.resolution / film
        frames = [frame_file(pictures, path.stem) for path in labels]
        places = shown_places(len(frames), self.shown)
        for clip, place in zip(clips(film, frames, places), places, strict=True):
            yield replace(clip, annotation=Drawn(labels[place], tuple(phrases)))

    def _phrases(self) -> dict[str, dict[tuple[str, int], None]]:
        """Return the phrases of each film with the numbers of their objects, in the order of the files."""
        folder = self.texts or self.source / "davis_text_annotations"
        if self.texts is not None and not folder.is_dir():
            raise LayoutError(f"texts: there is no folder {folder}; unpack davis_text_annotations there")
        found: dict[str, dict[tuple[str, int], None]] = {}
        for path in sorted(folder.glob("*.txt")):
            for line in text_lines(path):
                said = _LINE.fullmatch(line)
                if said is None and line.strip():
                    raise LayoutError(f"{path}: expected lines of a film, a number and a phrase, got {line[:60]!r}")
                if said is not None and said["text"].strip():
                    found.setdefault(said["film"], {})[said["text"].strip(), int(said["number"])] = None
        return found


def read_frame(clip: Clip) -> ReadResult:
    """Read the frames and the objects of the one with masks.

    Raises:
        RecordError: If a file is broken, or image and annotation differ in size.
    """
    drawn: Drawn = clip.annotation
    data, size = read_image_file(clip.frames[clip.place])
    numbers = read_numbers(drawn.labels)
    if numbers.shape != size:
        raise RecordError(f"{drawn.labels}: it has size {numbers.shape}, the image {size}; both must agree")
    known = [number for number in np.unique(numbers).tolist() if number not in (0, VOID)]
    masks = {number: RLEMask.from_array(numbers == number) for number in known}
    regions = (Region.of_objects(THING, list(masks.values())),) if masks else ()
    phrases = tuple(Phrase(text, (masks[number],) if number in masks else ()) for text, number in drawn.phrases)
    void = numbers == VOID
    record = Record(
        clip.key,
        data,
        size,
        MANIFEST,
        regions,
        phrases,
        ignore=RLEMask.from_array(void) if void.any() else None,
    )
    if not regions and not phrases:
        return ReadResult(None, (Skipped("frame without an object or a phrase", clip.key),))
    return ReadResult(clip.record(record))
