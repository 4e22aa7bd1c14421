"""Errors in a user's own code, or in a class of a library that a config names: one line with class and argument."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from types import FrameType, FunctionType
from typing import Any

TRACEBACK = "LASAGNA_TRACEBACK"
"""Variable of the environment that shows tracebacks beside errors on one line."""

_PACKAGE = f"{Path(__file__).resolve().parents[1]}/"
_LIBRARIES = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib"))
FRAMEWORKS = ("lasagna.", "lightning.")
"""Packages whose classes call a user's own, and so stand in every traceback."""

_WAY_OUT = f"mend it there, or name another class ({TRACEBACK}=1 shows the whole traceback)"
_WORKER_LINE = re.compile(r'File "(.+?)", line (\d+), in (\w+)')
"""Line of a traceback that a worker of a loader has sent as text."""


def own_error(error: BaseException, config: Mapping[str, Any] | None = None) -> str | None:
    """Return what a user's own class or function did wrong, or one of a library that a config names.

    Args:
        error: The error, with its traceback.
        config: The config of the command, which tells the argument.

    Returns:
        One line, or None if no such code raised the error.
    """
    named = named_code(config or {})
    frames = _frames(error)
    place = next(filter(_is_own, frames), None) or _library_place(frames, named)
    if place is None:
        return _of_worker(str(error))
    argument = next((named[code] for frame in frames for code in _code_of(frame) if code in named), "")
    name = f"{place.f_globals.get('__name__')}.{place.f_code.co_qualname}".replace(".<locals>", "")
    return f"{argument}{': ' if argument else ''}{name} raised {described(error)}; {_WAY_OUT}"


def import_error(error: BaseException | None) -> str | None:
    """Return which module of a user's own raised an error when it was imported, and which; None if none did.

    Args:
        error: The error that was raised last, which others led to.
    """
    while error is not None:
        place = next(filter(_is_own, _frames(error)), None)
        if place is not None and place.f_code.co_name == "<module>":
            return f"{place.f_globals.get('__name__')} cannot be imported: {described(error)}"
        error = error.__cause__ or error.__context__
    return None


def described(error: BaseException) -> str:
    """Return kind and message of an error on one line, with the line of a user's own file that it comes from."""
    place = next(filter(_is_own, _frames(error)), None)
    return f"{type(error).__name__}: {' '.join(str(error).split())}{'' if place is None else _line_of(error, place)}"


def _of_worker(message: str) -> str | None:
    """Return what own code did wrong in a worker of a loader, whose traceback is in the message."""
    lines = message.strip().splitlines()
    places = [found.groups() for line in lines if (found := _WORKER_LINE.search(line))]
    own = [place for place in places if _is_own_file(place[0])]
    if "Original Traceback" not in message or not own:
        return None
    file, line, function = own[-1]
    return f"data: {function} raised {lines[-1].strip()} ({_shown(file)}, line {line}); {_WAY_OUT}"


def _frames(error: BaseException) -> list[FrameType]:
    """Return the frames of a traceback, the innermost first."""
    return [frame for frame, _ in walk_tb(error.__traceback__)][::-1]


def _is_own(frame: FrameType) -> bool:
    return _is_own_file(frame.f_code.co_filename)


def _is_own_file(file: str) -> bool:
    return not file.startswith(("<", _PACKAGE, *_LIBRARIES))


def _library_place(frames: list[FrameType], named: Mapping[object, str]) -> FrameType | None:
    """Return the frame of a library's class that a config names, unless it called into the package."""
    for frame in frames:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        if any(code in named for code in _code_of(frame)):
            return frame
    return None


def _code_of(frame: FrameType) -> Iterator[object]:
    """Yield what a config could name a frame by: the class of its object, or its function."""
    if "self" in frame.f_code.co_varnames[:1]:
        yield from type(frame.f_locals.get("self")).__mro__
    yield frame.f_code


def _line_of(error: BaseException, place: FrameType) -> str:
    """Return file and line of a frame, for the end of a message."""
    line = next(line for frame, line in walk_tb(error.__traceback__) if frame is place)
    return f" ({_shown(place.f_code.co_filename)}, line {line})"


def _shown(file: str) -> Path:
    return Path(file).relative_to(Path.cwd()) if Path(file).is_relative_to(Path.cwd()) else Path(file)


def named_code(config: Mapping[str, Any]) -> dict[object, str]:
    """Return the classes and functions that a config names, with the argument of each."""
    found = dict[object, str]()
    for argument, path in _texts(config, ""):
        module, _, name = path.rpartition(".")
        code = getattr(sys.modules.get(module), name, None) if module else None
        if isinstance(code, type | FunctionType) and not f"{path}.".startswith(FRAMEWORKS):
            found.setdefault(code.__code__ if isinstance(code, FunctionType) else code, argument)
    return found


def _texts(config: Any, argument: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Yield each text of a config with its argument, as users write it."""
    if isinstance(config, str):
        yield argument, config
    elif isinstance(config, Mapping):
        for key, value in config.items():
            step = "" if key in ("class_path", "init_args") else f".{key}" if argument else str(key)
            yield from _texts(value, f"{argument}{step}")
    elif isinstance(config, list | tuple):
        for rank, value in enumerate(config):
            yield from _texts(value, f"{argument}[{rank}]")
