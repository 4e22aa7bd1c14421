"""Nearest matches for class names and keys that a config gets wrong."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from pydoc import locate
from typing import get_args

_INNERMOST = re.compile(r"Problem with given class_path '([\w.]+)'")
_TYPED = "NestedArg("
"""What the parser says of values that were typed as flags."""

_CLASS = re.compile(r"(?:Import path|dot import path string:|has no attribute|No module named) '?([\w.]+)'?")
_KEY = re.compile(r"Option '([\w.]+)\+?' is not accepted|unrecognized arguments: --([\w.]+)|[Kk]ey '([\w.]+)'")


def suggestion(
    message: str, bases: Iterable[type], keys: Iterable[str], choices: tuple[str, list[str]] | None = None
) -> str | None:
    """Return what was probably meant, or None if nothing is near.

    Args:
        message: What the parser said.
        bases: Base classes of everything that a config can name.
        keys: Keys that the config knows.
        choices: The value that is wrong and those that are allowed, where there are such.
    """
    if choices is not None:
        return _hint(*choices)
    classes = sorted(_subclasses(bases), key=lambda kind: kind.__qualname__)
    named = _CLASS.search(message)
    if named is not None:
        return _class_hint(named[1].rsplit(".", 1)[-1], classes)
    found = _KEY.search(message)
    if found is None:
        return None
    wrong = next(group for group in found.groups() if group)
    at_hand = _INNERMOST.findall(message)
    if at_hand:
        return _argument_hint(wrong, locate(at_hand[-1]))
    known = {*keys, *(key.rsplit(".", 1)[-1] for key in keys), *_arguments(classes)}
    return _hint(wrong, known) or _hint(wrong.rsplit(".", 1)[-1], known)


def whereabouts(message: str, files: Iterable[Path]) -> str | None:
    """Return in which config file, and on which line, the wrong word of a message stands; None if it was typed.

    Args:
        message: What the parser said.
        files: The config files that were read.
    """
    if _TYPED in message:
        return None
    found = _CLASS.search(message) or _KEY.search(message)
    word = next((group for group in found.groups() if group), "") if found else ""
    for file in files if word else ():
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if re.search(rf"^[^#]*(?<!\w){re.escape(word)}(?!\w)", line):
                return f"{file}, line {number}"
    return None


def _class_hint(name: str, classes: list[type]) -> str | None:
    paths = {kind.__name__: f"{kind.__module__}.{kind.__qualname__}" for kind in classes}
    if name in paths:
        return f"there is {paths[name]}, which is something else than this argument takes"
    near = get_close_matches(name, paths, n=1, cutoff=0.5)
    return f"did you mean {near[0]} ({paths[near[0]]})?" if near else None


def _argument_hint(wrong: str, kind: object) -> str | None:
    """Return the nearest argument of a class, or what it takes; a dotted key leads into its arguments' own classes."""
    known, steps = _arguments_of(kind), wrong.split(".")
    for place, step in enumerate(steps):
        if step not in known:
            return _step_hint(steps[: place + 1], known, kind)
        kind = _class_of_argument(kind, step)
        known = _arguments_of(kind)
    return None


def _step_hint(steps: list[str], known: list[str], kind: object) -> str | None:
    near = get_close_matches(steps[-1], known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {'.'.join([*steps[:-1], *near])!r}?"
    return f"{kind.__name__} takes {', '.join(known)}" if isinstance(kind, type) and known else None


def _arguments_of(kind: object) -> list[str]:
    return list(inspect.signature(kind).parameters) if isinstance(kind, type) else []


def _class_of_argument(kind: object, name: str) -> object:
    if not isinstance(kind, type):
        return None
    try:
        argument = inspect.signature(kind, eval_str=True).parameters.get(name)
    except NameError:  # a type that is imported for type checkers alone
        return None
    hint = None if argument is None else argument.annotation
    return next((each for each in get_args(hint) or (hint,) if isinstance(each, type)), None)


def _hint(word: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(word, sorted(set(known) - {word}), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None


def _subclasses(bases: Iterable[type]) -> Iterator[type]:
    seen: set[type] = set()
    left = list(bases)
    while left:
        kind = left.pop()
        if kind not in seen:
            seen.add(kind)
            left += kind.__subclasses__()
            yield kind


def _arguments(classes: Iterable[type]) -> set[str]:
    # Lightning's and torch's own classes have hundreds of arguments that are nobody's typing mistake here
    ours = [kind for kind in classes if not kind.__module__.startswith(("torch", "lightning"))]
    return {name for kind in ours for name in inspect.signature(kind).parameters}
