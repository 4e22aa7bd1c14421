"""What happens to a command line before it is parsed: files before options, packaged configs, and nulls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from yaml import YAMLError, safe_load  # type: ignore[import-untyped]

from lasagna.cli.configs import local_or_packaged

CONFIG = ("-c", "--config")

Key = tuple[str, ...]


@dataclass(frozen=True)
class TypedOption:
    """An option as it was typed, or a word that belongs to no option.

    Args:
        words: Its words on the command line.
        name: The option with its dashes, or the word.
        value: Its value, or an empty text.
    """

    words: tuple[str, ...]
    name: str
    value: str

    @property
    def is_option(self) -> bool:
        """Whether it is an option rather than a single word."""
        return self.name.startswith("-")

    @property
    def key(self) -> Key:
        """The steps of the config key that it sets; empty for a config file."""
        return () if self.name in CONFIG else tuple(self.name.removeprefix("--").split("."))


def typed_options(argv: list[str]) -> Iterator[TypedOption]:
    """Yield the options of a command line."""
    place = 0
    while place < len(argv):
        name, glued, value = argv[place].partition("=")
        length = 1 if glued or not name.startswith("-") or _has_no_value(argv[place + 1 :]) else 2
        yield TypedOption(tuple(argv[place : place + length]), name, argv[place + 1] if length == 2 else value)
        place += length


def _has_no_value(words: list[str]) -> bool:
    """Say whether the words after an option begin with another option, or there are none."""
    return not words or words[0].startswith("--") or words[0] in CONFIG


def configs_first(argv: list[str]) -> list[str]:
    """Return a command line with its config files before its other options, which therefore override them.

    The parser applies options as it reads them, so that a file would override the options before it.

    Args:
        argv: The command line, with or without a job at its start.
    """
    options = list(typed_options(argv))
    job = options[:1] if options and not options[0].is_option else []
    # the sort is stable: files stay in order, and so do the other options
    ordered = job + sorted(options[len(job) :], key=lambda option: option.name not in CONFIG)
    return [word for option in ordered for word in option.words]


def find_packaged_configs(argv: list[str]) -> list[str]:
    """Return a command line in which names of the package's configs are paths; local files win.

    Args:
        argv: The command line.
    """
    return [word for option in typed_options(argv) for word in _with_path(option)]


def _with_path(option: TypedOption) -> tuple[str, ...]:
    found = local_or_packaged(option.value)
    return option.words if found == option.value else (f"{option.name}={found}",)


def with_moved_folders(argv: list[str]) -> list[str]:
    """Return a command line in which the config of an assistant's folder names the folder as it lies now.

    Args:
        argv: The command line.
    """
    return [word for option in typed_options(argv) for word in _with_moved_folder(option)]


def _with_moved_folder(option: TypedOption) -> tuple[str, ...]:
    file = Path(option.value)
    if option.name not in CONFIG:
        return option.words
    # imports torch, which most commands start without
    from lasagna.modules.checkpoints import folder

    if file.name != folder.CONFIG or not folder.is_assistant_folder(file.parent):
        return option.words
    try:
        content = safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, YAMLError):
        return option.words  # the parser reports what is wrong
    return (f"--config={json.dumps(folder.placed(content, file.parent))}",)


_GROUP = "trainer"
"""Its keys are the parser's own options with two steps; other keys are options with one step."""


def nulls_kept(argv: list[str]) -> list[str]:
    """Return a command line in which null arrives as null, however deep the argument is.

    Args:
        argv: The command line.
    """
    return [word for option in typed_options(argv) for word in _kept(option)]


def _kept(option: TypedOption) -> tuple[str, ...]:
    root, inner = _divided(option.key)
    content = _option_value(option.value) if option.is_option and inner else None
    # a plus at the end of the name adds to a list, which a mapping cannot express
    if not inner or not _holds_null(content) or not option.value.strip() or option.name.endswith("+"):
        return option.words
    whole = reduce(lambda value, name: {name: value}, reversed(inner), content)
    return (f"--{'.'.join(root)}={json.dumps(whole, default=str)}",)


def _divided(key: Key) -> tuple[Key, Key]:
    own = 2 if key[:1] == (_GROUP,) else 1
    return key[:own], key[own:]


def _option_value(value: str) -> Any:  # noqa: ANN401
    """Return the content of a value; its text if it is not valid YAML, which the parser will report."""
    try:
        return safe_load(value)
    except YAMLError:
        return value


def _holds_null(content: Any) -> bool:  # noqa: ANN401
    if isinstance(content, Mapping):
        return any(map(_holds_null, content.values()))
    return any(map(_holds_null, content)) if isinstance(content, list) else content is None
