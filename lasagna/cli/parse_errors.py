"""Short errors of the config parser: what is wrong, in which file and line, and what was probably meant."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from itertools import groupby
from pydoc import locate
from typing import Any, get_args

from jsonargparse import Namespace
from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from yaml import YAMLError  # type: ignore[import-untyped]

from lasagna.cli.class_names import import_exports
from lasagna.cli.command_parser import WORDS
from lasagna.cli.file_errors import ConfigFile, file_error, line_of, without_empty_sections, without_loop
from lasagna.cli.list_items import LISTED
from lasagna.cli.own_code import import_error
from lasagna.core.config import public_path
from lasagna.core.dialogue import DialogueMaker
from lasagna.core.prompt_format import PromptFormat
from lasagna.datamodules import DataWriter, RecordSampler, RecordTransform, Strategy
from lasagna.modules.losses import SegmentationLoss

_INNERMOST = re.compile(r"Problem with given class_path '([\w.]+)'")
_CALLED = re.compile(r"is not accepted\. Got value: Namespace\(class_path='([\w.]+)'")
"""Part of the message about an argument of a loss, which any class that is called can be."""

_TYPED = "NestedArg("
"""Part of the parser's message about a value from the command line."""

_CLASS = re.compile(
    r"(?:Import path|dot import path string:|has no attribute|No module named|No lasagna\.\w+ attribute) '?([\w.]+)'?"
)
_MODULE = re.compile(r"No module named '(\w+)'")
_KEY = re.compile(r"[Oo]ption '([^']+?)\+?'(?: is not accepted|$)|unrecognized arguments: --([\w.]+)|[Kk]ey '([\w.]+)'")


def suggestion(
    message: str, bases: Iterable[type], keys: Iterable[str], choices: tuple[str, list[str]] | None = None
) -> str | None:
    """Return what was probably meant, or None if nothing comes close.

    Args:
        message: What the parser said.
        bases: Base classes of what a config can name.
        keys: Keys that the config knows.
        choices: The wrong value and the allowed ones, if the argument takes one of a few.
    """
    if choices is not None:
        return _hint(*choices)
    if missing := _MODULE.search(message):
        return f"is the package of {missing[1]} installed, or {missing[1]}.py in the current folder?"
    import_exports()
    classes = sorted(_subclasses(bases), key=lambda kind: kind.__qualname__)
    named = _CLASS.search(message)
    if named is not None:
        return _class_hint(named[1].rsplit(".", 1)[-1], classes)
    found = _KEY.search(message)
    if found is None:
        return None
    wrong = next(group for group in found.groups() if group)
    enclosing = _INNERMOST.findall(message) + _CALLED.findall(message)
    if enclosing:
        return _argument_hint(wrong, locate(enclosing[-1]))
    known = {*keys, *(key.rsplit(".", 1)[-1] for key in keys), *_arguments([*classes, PromptFormat])}
    beginnings = {".".join(key.split(".")[: wrong.count(".") + 1]) for key in keys}
    return _hint(wrong, beginnings) or _hint(wrong, known) or _hint(wrong.rsplit(".", 1)[-1], known)


def whereabouts(message: str, files: Iterable[ConfigFile]) -> str | None:
    """Return the config file and the line with the wrong word of a message; None if it was typed.

    Args:
        message: What the parser said.
        files: The config files that were read.
    """
    found = None if _TYPED in message else _CLASS.search(message) or _KEY.search(message)
    word = next((group for group in found.groups() if group), "") if found else ""
    place = tuple(step for key in _STEP.findall(message) for step in key.split(".") if step != "init_args")
    return line_of(word, place, files) if word else None


RENAMED = {"talk": "conversation", "rounds": "turns", "next_round": "next_turn"}
"""Former names of arguments, to point out the present ones."""


def _class_hint(name: str, classes: list[type]) -> str | None:
    paths = {kind.__name__: public_path(kind) for kind in classes}
    if name in paths:
        return f"{paths[name]} exists, but this argument takes another kind of class"
    near = get_close_matches(name, paths, n=1, cutoff=0.5)
    return f"did you mean {near[0]} ({paths[near[0]]})?" if near else None


def _argument_hint(wrong: str, kind: object) -> str | None:
    """Return the nearest argument of a class, or all of them; a dotted key leads into the classes of its arguments."""
    known, steps = _arguments_of(kind), wrong.split(".")
    for place, step in enumerate(steps):
        if step not in known:
            near = [RENAMED[step]] if RENAMED.get(step) in known else get_close_matches(step, known, n=1, cutoff=0.6)
            if near:
                return f"did you mean {'.'.join([*steps[:place], *near])!r}?"
            return f"{kind.__name__} takes {', '.join(known)}" if isinstance(kind, type) and known else None
        kind = _class_of_argument(kind, step)
        known = _arguments_of(kind)
    return None


def _arguments_of(kind: object) -> list[str]:
    return list(inspect.signature(kind).parameters) if isinstance(kind, type) else []


def _class_of_argument(kind: object, name: str) -> object:
    if not isinstance(kind, type):
        return None
    try:
        argument = inspect.signature(kind, eval_str=True).parameters.get(name)
    except NameError:  # a type that is imported only for type checkers
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
    # the hundreds of arguments of Lightning's and torch's own classes would give misleading hints
    ours = [kind for kind in classes if not kind.__module__.startswith(("torch", "lightning"))]
    return {name for kind in ours for name in inspect.signature(kind).parameters}


BASES = (
    Callback,
    DataWriter,
    DialogueMaker,
    LightningDataModule,
    LightningModule,
    Logger,
    RecordSampler,
    RecordTransform,
    SegmentationLoss,
    Strategy,
)
"""Base classes of what a config can name."""

_NOISE = re.compile(
    r"Union subtypes|Subtypes:|NoneType|Given value|^\s*Errors:|Expected a path but|Problem with given class_path|"
    r"^\s*$|Subclass types expect one of:|^[\s-]*a (?:class path \(str\)|dict with)"
)
_GIVEN = re.compile(r"Given value: (.*)")
_CHOICES = re.compile(r"Expected a typing\.Literal\[(.*?)\](?:\. Got value: (.*))?$")
_ALSO = re.compile(r"Expected a (dot import path string: \S+|<class '(\w+)'>)$")
_OTHER_KIND = re.compile(r"Expected a <class '[\w.]+'>")
"""A line for each other type that the argument takes, which tells nothing beside what is wrong with a class."""
_STEP = re.compile(r'Parser key "([^"]+)"')
_WORDS = (
    (re.compile(r"Type collections\.abc\.Callable\[.*?\]\] expects a function or a callable class: "), ""),
    (re.compile(r"\. Got value: Namespace\(.*"), ""),
    (
        re.compile(r"Expected a dot import path string: None$"),
        "no class is called 'None'; null leaves a part out",
    ),
    (re.compile(r"Not a valid subclass of (\w+)(?:\. Got value: .*)?"), r"expected a \1 (class_path and init_args)"),
    (re.compile(r"'list' object has no attribute 'keys'"), "expected settings (`key: value`), got a list"),
    (re.compile(r"Unable to load config ['\"](.*)['\"]$"), r"expected settings (`key: value`) or a file, got '\1'"),
    (
        re.compile(r"Subclasses are disabled for (\w+), .*"),
        r"a \1 is needed, not its class; make one in the file, and name that",
    ),
    (re.compile(r"Option '([^']+)' is not accepted"), r"there is no option '\1'"),
    *WORDS,
)
_STEP_TEXT = re.compile(r'Parser key "[^"]+":')


class ConfigParser(LightningArgumentParser):
    """Lightning's parser with short errors."""

    files: tuple[ConfigFile, ...] = ()
    """The config files of this command, in which mistakes are looked up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # otherwise a key that is cut short stands for any key that begins with it
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def _load_config_parser_mode(self, content: str, *args: Any, **kwargs: Any) -> Namespace:  # noqa: ANN401
        """Load a config, in which an empty section states nothing; the parser would drop the settings before it."""
        with suppress(YAMLError):  # which the parser reports
            content = without_empty_sections(content)
        return super()._load_config_parser_mode(content, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> Any:  # noqa: ANN401
        """Print what is wrong instead of the list of all options."""
        if not self.exit_on_error:
            # inner parsers raise, and outer ones add the path to the key
            return super().error(message, ex)
        job, jobs = _JOB.match(message), self._subcommands_action
        # a key of a file that the job does not take is noticed by the outermost parser, which knows the jobs only
        parser = self if job is None or jobs is None else jobs.choices[job[1]]
        keys = list(parser.get_defaults(skip_validation=True).keys())
        if job is not None:
            message = f"Option '{_unknown_part(job[2], keys)}' is not accepted"
        return self.exit(2, f"error: {explain(message, self.files, keys, ex)}\n")


_JOB = re.compile(r"Subcommand '(\w+)' does not accept option '([^']+)'$")


def _unknown_part(key: str, known: Iterable[str]) -> str:
    """Return the shortest beginning of a dotted key that no known key has."""
    steps, keys = key.split("."), [f"{name}." for name in known]
    parts = [".".join(steps[:end]) for end in range(1, len(steps) + 1)]
    return next((part for part in parts if not any(name.startswith(f"{part}.") for name in keys)), key)


def explain(message: str, files: Iterable[ConfigFile], keys: Iterable[str], error: BaseException | None = None) -> str:
    """Return what is wrong at which key, with the file and line and the nearest match.

    Args:
        message: What the parser said: the keys from the outermost to the innermost, then the error.
        files: The config files that were read.
        keys: Keys that the config knows.
        error: The error that the message comes from.
    """
    wrong_file = file_error(message, files)
    if wrong_file is not None:
        return wrong_file
    message = without_loop(message, error)
    path = ".".join(step for step, _ in groupby(_STEP.findall(message)))
    lines = [_STEP_TEXT.sub("", line).strip(" -") for line in message.splitlines() if not _NOISE.search(line)]
    lines = [line for line in lines if line]
    # the other types of a union know nothing of the list's items
    lines = [line for line in lines if LISTED in line] or lines
    told = [line for line in lines if not line.startswith("Not a valid subclass")]
    lines = lines if all(map(_OTHER_KIND.fullmatch, told)) else told
    given = _GIVEN.search(message)
    choices, reasons = _choices(lines, given[1] if given else "")
    reasons = [line for line in reasons if not _OTHER_KIND.fullmatch(line)] or reasons
    for pattern, words in _WORDS:
        reasons = [pattern.sub(words, line) for line in reasons]
    reason = import_error(error) or "\n  ".join(dict.fromkeys(reasons))
    place, hint = whereabouts(message, files), suggestion(message, BASES, keys, choices)
    first = f"{path}: {reason}" if path else reason
    return "\n  ".join([first, *([f"in {place}"] if place else []), *([hint] if hint else [])])


def _choices(lines: list[str], given: str) -> tuple[tuple[str, list[str]] | None, list[str]]:
    """Merge the lines that list allowed values into one; also return the wrong value and the allowed ones, if any."""
    found = [match for line in lines if (match := _CHOICES.search(line))]
    if not found:
        return None, lines
    value = found[0][2] or given
    others = [line for line in lines if not _CHOICES.search(line) and not _ALSO.search(line)]
    if value.startswith(("{", "Namespace(")) and others:
        # a mapping stands for an object; what is wrong with that is in the other lines
        return None, others
    allowed = list({word.strip("'\""): word for match in found for word in match[1].split(", ")}.items())
    others = [line for line in lines if not _CHOICES.search(line)]
    also = [match[2] or "a class" for line in others if (match := _ALSO.search(line))]
    words = ", ".join([*(word for _, word in allowed), *(f"or {word}" for word in dict.fromkeys(also))])
    kept = [line for line in others if not _ALSO.search(line)]
    return (value, [name for name, _ in allowed]), [f"expected one of {words}, got '{value}'", *kept]
