"""MeViS: films with phrases about what moves in them.

Source: Ding et al. (ICCV 2023; TPAMI 2025); ``henghuiding/MeViS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Phrase, Record
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.clips import Clip, clips, frame_file, shown_places
from lasagna.datamodules.converters.common.coco import read_mask
from lasagna.datamodules.converters.common.entries import ID, check_entries, is_folder_name, read_json
from lasagna.datamodules.converters.common.files import LayoutError, read_image_file
from lasagna.datamodules.shards.tally import ReadResult, Skipped

MANIFEST = Manifest(
    name="mevis",
    unannotated="unknown",
    origin="MeViS (henghuiding/MeViS), frames of films",
    licence="non-commercial research; terms of its authors",
)
EXPECTED = """
  {train,valid_u}/JPEGImages/<film>/<frame>.jpg, meta_expressions.json and mask_dict.json"""
PHRASES, MASKS = "meta_expressions.json", "mask_dict.json"


class MeViS(Converter):
    """MeViS; some frames of a film are shown together, and each of them has a record with its masks.

    The frames are at equal distances from the first to the last, so that phrases about what happens can be understood.
    A phrase fits nothing on frames where none of its things is visible. Splits without masks ("valid", "test") are left
    out.

    Args:
        source: The folder that holds the folders of the splits.
        shown: How many frames of a film are shown together; each image is stored so many times.
    """

    def __init__(self, source: Path, shown: int = 4) -> None:
        self.source = source
        self.shown = shown

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that have masks.

        Raises:
            LayoutError: If there is none; later, if its files are broken.
        """
        parts = {path.parent.name: path.parent for path in sorted(self.source.glob(f"*/{MASKS}"))}
        if not parts:
            raise LayoutError(f"source: {self.source} holds no annotated films of MeViS; expected{EXPECTED}")
        return LazySplits({name: partial(self._split, folder) for name, folder in parts.items()})

    def _split(self, folder: Path) -> Split:
        said, masks = read_json(folder / PHRASES), read_json(folder / MASKS)
        films = said.get("videos") if isinstance(said, dict) else None
        if not isinstance(films, dict) or not isinstance(masks, dict):
            raise LayoutError(f"{folder}: {PHRASES} and {MASKS} are not those of MeViS; expected{EXPECTED}")
        items = [clip for name, film in films.items() for clip in self._clips(folder, str(name), film, masks)]
        files = [path for clip in items for path in clip.frames]
        return Split(MANIFEST, items, read_clip, files, annotations=(folder / PHRASES, folder / MASKS))

    def _clips(self, folder: Path, name: str, film: Any, masks: Mapping[str, Any]) -> Iterator[Clip]:  # noqa: ANN401
        where = f"{folder / PHRASES}: {name}"
        check_entries([film], {"frames": list, "expressions": dict}, where)
        if not is_folder_name(name) or not all(isinstance(frame, str) for frame in film["frames"]):
            raise LayoutError(f"{where}: film and frames must be named like folders and files")
        place = folder / "JPEGImages" / name
        frames = [frame_file(place, frame) for frame in film["frames"]]
        places = shown_places(len(frames), self.shown)
        phrases = [_phrase(one, masks, len(frames), where) for one in film["expressions"].values()]
        for clip, frame in zip(clips(name, frames, places), places, strict=True):
            yield replace(
                clip, annotation=tuple((text, [track[frame] for track in tracks]) for text, tracks in phrases)
            )


def read_clip(clip: Clip) -> ReadResult:
    """Read the frames and draw what each phrase fits on the one with masks.

    Raises:
        RecordError: If a frame is broken, or a mask is invalid or of another size.
    """
    data, size = read_image_file(clip.frames[clip.place])
    phrases, left = [], list[Skipped]()
    for text, codings in clip.annotation:
        where = f"{text!r} of {clip.key}"
        # a thing that is not visible on this frame has no mask
        masks = [read_mask(coding, size, where) for coding in codings if coding]
        drawn = tuple(mask for mask in masks if isinstance(mask, Mask))
        if text.strip() and len(drawn) == len(masks):
            phrases.append(Phrase(text.strip(), drawn))
        else:
            left.append(Skipped("phrase without words, or with a mask that has no pixel", where))
    record = Record(clip.key, data, size, MANIFEST, phrases=tuple(phrases)) if phrases else None
    return ReadResult(None if record is None else clip.record(record), tuple(left))


def _phrase(one: Any, masks: Mapping[str, Any], frames: int, where: str) -> tuple[str, list[list[Any]]]:  # noqa: ANN401
    """Return a phrase and, for each of its things, the encoded mask on each frame or None."""
    check_entries([one], {"exp": str, "anno_id": (*ID, list)}, f"{where}: expressions")
    listed = one["anno_id"] if isinstance(one["anno_id"], list) else [one["anno_id"]]
    tracks = [masks.get(str(number)) for number in listed]
    for number, track in zip(listed, tracks, strict=True):
        if not isinstance(track, list) or len(track) != frames:
            raise LayoutError(f"{where}: thing {number} has no mask for each of {frames} frames in {MASKS}")
    return one["exp"], [track for track in tracks if track is not None]
