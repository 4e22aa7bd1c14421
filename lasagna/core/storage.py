"""Files that are written whole or not at all, and one line for what goes wrong on a disk."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lasagna.errors import LasagnaError, OutputError

_FULL = "make room and run the same command again; what was written before is unchanged"
_DENIED = "choose a folder that you may write to"
_NO_FOLDER = "there is a file where a folder is wanted; choose another folder"
WAYS_OUT = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.ENOTDIR: _NO_FOLDER,
    errno.EEXIST: _NO_FOLDER,
    errno.EISDIR: "there is a folder where a file is wanted; choose another folder, or move it away",
    errno.ENOENT: "it is missing, or was removed meanwhile; check the path and run the same command again",
}
"""Number of an operating system's error to what to do about it."""

_NUMBER = re.compile(r"\(os error (\d+)\)")


def is_storage_error(error: BaseException) -> bool:
    """Say whether an error is one of files and folders that a user can do something about."""
    return isinstance(error, OSError) and error.errno in WAYS_OUT


def storage_reason(error: OSError, place: str | Path | None = None) -> str:
    """Return what is wrong with a file or folder, and the way out, in one line.

    Args:
        error: An error for which ``is_storage_error`` holds.
        place: The file or folder, where the error does not name it.
    """
    place = error.filename or place
    return f"{f'{place}: ' if place else ''}{os.strerror(error.errno or 0).lower()}; {WAYS_OUT[error.errno or 0]}"


@contextmanager
def writing(place: str | Path) -> Iterator[None]:
    """Turn errors of the disk, such as a full one, into an error of one line.

    Libraries that write by themselves raise errors of their own instead, from which the operating system's is read.

    Args:
        place: The file or folder that is written, for messages.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        yield
    except LasagnaError:
        raise
    except Exception as error:
        cause = _cause(error)
        if cause is None:
            raise
        raise OutputError(f"output: {storage_reason(cause, place)}") from error


def _cause(error: BaseException | None) -> OSError | None:
    """Return the operating system's error behind an error, if it is one that has a way out."""
    if (found := _NUMBER.search(str(error))) and int(found[1]) in WAYS_OUT:
        return OSError(int(found[1]), os.strerror(int(found[1])))
    while error is not None and not is_storage_error(error):
        error = error.__cause__ or error.__context__
    return error if isinstance(error, OSError) else None


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """Yield the path of a temporary file beside a file, which replaces that file at the end.

    If writing fails, the temporary file is removed and the file stays as it was.

    Args:
        file: The file.

    Raises:
        OutputError: If it cannot be written.
    """
    draft = file.with_name(f"{file.name}.part")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield draft
            draft.replace(file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def write_text(file: Path, text: str) -> None:
    """Write a text file, whole or not at all; a missing folder is created.

    Raises:
        OutputError: If it cannot be written.
    """
    with whole_file(file) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(file: Path, content: Any, **options: Any) -> None:  # noqa: ANN401
    """Write JSON, whole or not at all.

    Args:
        file: The file; a missing folder is created.
        content: Plain data.
        options: Arguments of ``json.dumps``.

    Raises:
        OutputError: If it cannot be written.
    """
    write_text(file, json_text(content, **options) + "\n")


def json_text(content: Any, **options: Any) -> str:  # noqa: ANN401
    """Return plain data as JSON, in which numbers that are not finite are null, since JSON has none.

    Args:
        content: Plain data.
        options: Arguments of ``json.dumps``.
    """
    return json.dumps(_finite(content), allow_nan=False, **options)


def _finite(content: Any) -> Any:  # noqa: ANN401
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {name: _finite(part) for name, part in content.items()}
    return [_finite(part) for part in content] if isinstance(content, list | tuple) else content


def check_output(folder: Path, argument: str = "out") -> None:
    """Check that a folder can be made or written into, before work that takes long; nothing is made.

    Args:
        folder: The folder.
        argument: The setting that names it, for messages.

    Raises:
        OutputError: If a file is in its place, or its owner lets nobody write.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise OutputError(f"{argument}: {there} is not a folder; choose another folder, or move it away")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"{argument}: {there} cannot be written to: permission denied; {_DENIED}")
