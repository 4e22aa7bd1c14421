"""Frames of films as records of several images that are shown together, of which one has the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lasagna.core.record import Record
from lasagna.datamodules.converters.common.files import LayoutError, read_file, read_image_file
from lasagna.errors import ConfigError

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Endings of the files of frames."""


@dataclass(frozen=True)
class Clip:
    """Some frames of a film, one of which has masks.

    Args:
        key: Name of the record.
        frames: The files of all shown frames, in order.
        place: Position among them of the one with masks.
        annotation: What a data set says about that frame; paths in it count as files that the record is made from.
    """

    key: str
    frames: tuple[Path, ...]
    place: int
    annotation: Any = None

    def record(self, record: Record) -> Record:
        """Return a record about the frame with masks, beside which all other frames are shown.

        Raises:
            RecordError: If a file of a frame is missing or cannot be decoded.
        """
        others = [path for rank, path in enumerate(self.frames) if rank != self.place]
        for path in others:
            read_image_file(path)
        return replace(record, others=tuple(map(read_file, others)), masks_on=self.place)


def shown_places(count: int, shown: int) -> list[int]:
    """Return the positions of frames at equal distances, from the first to the last.

    Args:
        count: Number of frames of the film.
        shown: Number of frames to show; all are shown of a film that has no more.

    Raises:
        ConfigError: If fewer than one is to be shown.
    """
    if shown < 1:
        raise ConfigError(f"shown: got {shown}; show at least 1 frame of each film")
    if count <= shown:
        return list(range(count))
    return [0] if shown == 1 else [round(rank * (count - 1) / (shown - 1)) for rank in range(shown)]


def frame_file(folder: Path, name: str) -> Path:
    """Return the file of a frame by its name without ending; the usual one if there is none.

    Args:
        folder: The folder of the film.
        name: The name.

    Raises:
        LayoutError: If the name leads out of the folder.
    """
    if Path(name).name != name:
        raise LayoutError(f"{folder}: a frame is called {name!r}, which is not the name of a file within it")
    files = [folder / f"{name}{suffix}" for suffix in SUFFIXES]
    return next((path for path in files if path.is_file()), files[0])


def clips(name: str, frames: Sequence[Path], places: Sequence[int]) -> list[Clip]:
    """Return a clip for each shown frame of a film.

    Args:
        name: Name of the film.
        frames: The files of all frames.
        places: Positions of the shown ones.
    """
    shown = tuple(frames[place] for place in places)
    return [Clip(f"{name}-{path.stem}", shown, rank) for rank, path in enumerate(shown)]
