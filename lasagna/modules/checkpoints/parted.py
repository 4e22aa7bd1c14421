"""A checkpoint as a folder: each process of a training writes the rows of the tensors that it holds.

``meta.pt`` is what a checkpoint file would hold, without the divided tensors, and names the files of the rows. They are
plain torch files that are read without unpickling objects, by any number of processes. Since ``meta.pt`` is replaced
last, a training that is killed while it writes keeps its previous checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lasagna.core.storage import check_output, whole_file
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import read_plain
from lasagna.modules.checkpoints.weights import check_content

META = "meta.pt"
FORM = 1
"""Version of this layout."""

Place = tuple[Any, ...]
"""Keys and list positions that lead to a value in a checkpoint."""


def is_parted(path: Path) -> bool:
    """Return whether a path is a folder in this layout."""
    return (path / META).is_file()


def main_file(path: Path) -> Path:
    """Return the file of a checkpoint that is written last: itself, or that of a folder in parts."""
    return path / META if is_parted(path) else path


def part_file(folder: Path, name: str, part: int, parts: int) -> Path:
    """Return the file of a part.

    Args:
        folder: The checkpoint's folder.
        name: Name of this writing, another one each time.
        part: Number of the process that writes it.
        parts: Number of processes.
    """
    return folder / f"part-{name}-{part:05}-of-{parts:05}.bin"


def write_torch(content: Any, file: Path) -> None:  # noqa: ANN401
    """Write a torch file, whole or not at all, and wait until it is on the disk.

    Args:
        content: Plain data and tensors.
        file: The file; replaced as a whole.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(file) as draft, draft.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())


def write_meta(folder: Path, name: str, parts: int, rest: Any, shapes: Sequence[tuple[Place, Sequence[int]]]) -> None:  # noqa: ANN401
    """Make the parts that have been written the folder's checkpoint.

    Args:
        folder: The checkpoint's folder.
        name: Name of this writing.
        parts: Number of processes.
        rest: The checkpoint, with None in place of each divided tensor.
        shapes: Place and shape of each divided tensor, in the order in which the parts number them.
    """
    divided = [[list(place), list(shape)] for place, shape in shapes]
    write_torch({"form": FORM, "name": name, "parts": parts, "divided": divided, "rest": rest}, folder / META)


def remove_others(folder: Path, name: str) -> None:
    """Remove the parts of earlier writings, and of those that were not finished."""
    for file in folder.glob("part-*"):
        if not file.name.startswith(f"part-{name}-"):
            file.unlink(missing_ok=True)


class PartedCheckpoint:
    """A checkpoint in parts, of which only what is asked for is read.

    Args:
        folder: The checkpoint's folder.

    Raises:
        CheckpointError: If it is damaged, or of a later layout.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        meta = read_plain(folder / META)
        if not isinstance(meta, dict) or meta.get("form") != FORM:
            raise CheckpointError(
                f"checkpoint: {folder / META} is not of form {FORM}; use the version of lasagna that wrote it, or a "
                "newer one"
            )
        try:
            self.rest: dict[str, Any] = meta["rest"]
            self.shapes = {tuple(place): tuple(shape) for place, shape in meta["divided"]}
            self._files = [part_file(folder, meta["name"], part, meta["parts"]) for part in range(meta["parts"])]
            fits = "state_dict" in self.rest and all(_holds(self.rest, place) for place in self.shapes)
        except (KeyError, TypeError, ValueError, IndexError):
            fits = False
        if not fits:
            raise CheckpointError(f"checkpoint: {folder / META} is damaged; copy it again, or use another one")
        self._numbers = {place: number for number, place in enumerate(self.shapes)}

    @cached_property
    def _parts(self) -> list[dict[int, Tensor]]:
        absent = [file.name for file in self._files if not file.is_file()]
        if absent:
            more = f" and {len(absent) - 2} more" if len(absent) > 2 else ""
            raise CheckpointError(
                f"checkpoint: {str(self.folder)!r} lacks {', '.join(absent[:2])}{more}, of {len(self._files)} parts; "
                "each machine writes its own, so use a common disk, or copy all parts into one folder"
            )
        return [read_plain(file) for file in self._files]

    def rows(self, place: Place, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows of a divided tensor.

        Args:
            place: Its place in the checkpoint.
            start: First row.
            stop: Row after the last one; None for all.

        Raises:
            CheckpointError: If a part is missing or damaged.
        """
        shape = self.shapes[place]
        stop = shape[0] if stop is None else stop
        found, first = list[Tensor](), 0
        if 0 in shape:
            return next(iter(self._parts[0].values())).new_empty((stop - start, *shape[1:]))
        for part in self._parts:
            try:
                rows = part[self._numbers[place]]
                found.append(rows[max(0, start - first) : max(0, stop - first)])
                first += len(rows)
            except (KeyError, TypeError, IndexError):
                break
        if first != shape[0] or any(rows.shape[1:] != shape[1:] for rows in found):
            name = ".".join(map(str, place))
            raise CheckpointError(f"checkpoint: {str(self.folder)!r} is damaged at {name}; use another one")
        return torch.cat(found)

    def filled(self, make: Callable[[Place], Tensor | None]) -> dict[str, Any]:
        """Return the checkpoint with its divided tensors.

        Args:
            make: Returns the tensor at a place, or None where it is not needed.
        """
        content: dict[str, Any] = _copied(self.rest)
        for place in self.shapes:
            holder: Any = content
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = make(place)
        check_content({**content, "state_dict": _without_none(content["state_dict"])}, self.folder)
        return content


def read_parted(folder: Path, keys: Collection[str] | None = None) -> dict[str, Any]:
    """Read a checkpoint in parts as one that a file holds.

    Args:
        folder: The checkpoint's folder.
        keys: Keys of the checkpoint whose divided tensors are read; None for all. The others are None.

    Raises:
        CheckpointError: If parts are missing or damaged.
    """
    checkpoint = PartedCheckpoint(folder)
    return checkpoint.filled(lambda place: checkpoint.rows(place) if keys is None or place[0] in keys else None)


def consolidated(folder: Path, file: Path) -> None:
    """Write a checkpoint in parts as a file.

    Args:
        folder: The checkpoint's folder.
        file: A new file.

    Raises:
        CheckpointError: If the folder is none in this layout, parts are missing, or the file exists.
    """
    if not is_parted(folder):
        raise CheckpointError(
            f"ckpt: {str(folder)!r} is no checkpoint folder of a training with divided weights; without --consolidate, "
            "other checkpoints are exported as they are"
        )
    if file.exists():
        raise CheckpointError(f"output: {str(file)!r} exists; give a new file")
    check_output(file.parent, "output")
    write_torch(read_parted(folder), file)


def tensors_in(content: Any, place: Place = ()) -> Iterator[tuple[Place, Tensor]]:  # noqa: ANN401
    """Yield place and value of each tensor in nested dicts, lists and tuples."""
    if isinstance(content, Tensor):
        yield place, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from tensors_in(value, (*place, key))
    elif isinstance(content, list | tuple):
        for number, value in enumerate(content):
            yield from tensors_in(value, (*place, number))


def replaced(content: Any, new: Callable[[Place, Tensor], Any], place: Place = ()) -> Any:  # noqa: ANN401
    """Return nested dicts and lists with other values in the place of tensors; those inside of tuples stay.

    Args:
        content: The nested data.
        new: Returns the value for the place and the tensor there.
        place: Where the content is.
    """
    if isinstance(content, Tensor):
        return new(place, content)
    if isinstance(content, dict):
        return {key: replaced(value, new, (*place, key)) for key, value in content.items()}
    if isinstance(content, list):
        return [replaced(value, new, (*place, number)) for number, value in enumerate(content)]
    return content


def _copied(content: Any) -> Any:  # noqa: ANN401
    return replaced(content, lambda place, tensor: tensor)


def _holds(content: Any, place: Place) -> bool:  # noqa: ANN401
    for key in place:
        content = content[key]
    return content is None


def _without_none(state: Any) -> Any:  # noqa: ANN401
    return {name: value for name, value in state.items() if value is not None} if isinstance(state, dict) else state
