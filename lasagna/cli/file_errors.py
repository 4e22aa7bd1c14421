"""Errors in config files: which file is wrong and why, and in which line a wrong word stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from lasagna.cli.arguments import Key, typed_options
from lasagna.cli.configs import SUFFIXES
from lasagna.errors import ConfigError


@dataclass(frozen=True)
class ConfigFile:
    """A config file, read before the parser, which changes the working directory while it reads one.

    Args:
        name: The path as it was typed.
        text: Its content.
        key: The steps of the key that it is the value of; empty for settings from the root.
    """

    name: str
    text: str
    key: Key = ()


def read_config(name: str, key: Key = ()) -> ConfigFile:
    """Read a config file.

    Args:
        name: Its path.
        key: The steps of the key that it is the value of.

    Raises:
        ConfigError: If it cannot be read as text.
    """
    try:
        return ConfigFile(name, Path(name).read_text("utf-8"), key)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: it cannot be read as text in UTF-8 ({error})") from error


def typed_files(argv: list[str]) -> list[ConfigFile]:
    """Read the config files that a command line names, as a whole config or as the value of another option.

    Args:
        argv: The command line.

    Raises:
        ConfigError: If one cannot be read as text, or its trainer has no settings.
    """
    options = [option for option in typed_options(argv) if option.is_option and _is_file(option.value)]
    files = [
        read_config(option.value, option.key) for option in options if not option.key or option.value.endswith(SUFFIXES)
    ]
    for file in files:
        _check_trainer(file)
    return files


def _check_trainer(file: ConfigFile) -> None:
    """Refuse a trainer that is a list or a number, for which the parser drops the settings before it."""
    try:
        content = yaml.safe_load(file.text)
    except yaml.YAMLError:  # which the parser reports
        return
    trainer = content.get("trainer") if isinstance(content, dict) and not file.key else None
    if not isinstance(trainer, dict | str | None):
        raise ConfigError(f"{file.name}: trainer: expected settings (`key: value`), found a {type(trainer).__name__}")


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except OSError:  # a name that is too long, such as a whole config as JSON
        return False


_UNREADABLE = ("Unexpected config:", "Problems parsing config:")
_LOOP = re.compile(r"Config file loop detected: (.+?) -> .*")
_PATH = re.compile(r"Expected a path but (\S+\.ya?ml) either not accessible")
_CONTENT = re.compile(r"Invalid content in sub-config file (.+?): (.*?)(?=\n\s*- |\n\s*Given |\Z)", re.DOTALL)
_UNKNOWN = re.compile(r"[Oo]ption '(?:class_path|init_args|dict_kwargs)")


def file_error(message: str, files: Iterable[ConfigFile]) -> str | None:
    """Return which config file is wrong and why, if the parser's message is about a file rather than a key.

    Args:
        message: What the parser said.
        files: The config files that were read.
    """
    roots = [file for file in files if not file.key]
    if _UNREADABLE[0] in message or _UNREADABLE[1] in message:
        return next((error for file in roots if (error := _no_mapping(file))), None)
    broken = _CONTENT.search(message)
    if broken is not None:
        return _yaml_error(broken[1], broken[2])
    if _UNKNOWN.search(message):
        return next((error for file in roots if (error := _single_part(file))), None)
    absent = _PATH.search(message)
    if absent is not None and not Path(absent[1]).is_file():
        return f"there is no file {absent[1]!r}; `lasagna configs` lists those that come with the package"
    loop = _LOOP.search(message)
    file = None if loop is None else next((file for file in files if file.name == loop[1]), None)
    return (
        None
        if file is None or not _is_whole(file)
        else (f"{file.name}: it holds settings from the root; give it as --config {file.name}")
    )


def without_loop(message: str, error: BaseException | None) -> str:
    """Return a message with the reason why the file of a part cannot be used.

    After any mistake in such a file the parser tries its name as a class, reads it again, and says that it includes
    itself.

    Args:
        message: What the parser said.
        error: The error that the message comes from.
    """
    while error is not None and not _LOOP.match(str(error)):
        error = error.__cause__ or error.__context__
    reason = None if error is None else error.__context__
    # nothing of it was typed, so that its line can be told
    return message if reason is None else _LOOP.sub(lambda _: str(reason), message).replace("NestedArg(", "")


_PLACE = re.compile(r'^ *in "<[^>]*>", line (\d+).*$', re.MULTILINE)


def _yaml_error(name: str, text: str) -> str:
    """Return the error of a YAML parser on one line, with the last place that it names."""
    lines = _PLACE.findall(text)
    reasons = [line.strip() for line in _PLACE.sub("", text).splitlines() if line.strip()]
    place = f", line {lines[-1]}" if lines else ""
    hint = "; indent with blanks, not with tabs" if "cannot start any token" in text else ""
    return f"{name}{place}: not valid YAML: {', '.join(reasons)}{hint}"


def _no_mapping(file: ConfigFile) -> str | None:
    try:
        content = yaml.safe_load(file.text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = f"{getattr(error, 'context', None) or ''}\n{getattr(error, 'problem', None) or error}"
        return _yaml_error(file.name, reason if mark is None else f'{reason}\nin "<file>", line {mark.line + 1}')
    if isinstance(content, dict):
        return None
    found = "nothing" if content is None else f"a {type(content).__name__}"
    return f"{file.name}: expected settings (`key: value`), found {found}"


def _single_part(file: ConfigFile) -> str | None:
    content = yaml.safe_load(file.text)
    if not isinstance(content, dict) or "class_path" not in content:
        return None
    return (
        f"{file.name}: it describes one part ({content['class_path']}), but --config takes settings from the root; "
        "give it to the part's own option (--model.assistant.vision_encoder, --data and so on)"
    )


def _is_whole(file: ConfigFile) -> bool:
    content = yaml.safe_load(file.text)
    return isinstance(content, dict) and not {"class_path", "init_args"} & content.keys()


def line_of(word: str, place: Key, files: Iterable[ConfigFile]) -> str | None:
    """Return the config file and the line in which a word stands as a key or as a value.

    Args:
        word: The word; a key may be dotted.
        place: Steps of the key below which it stands.
        files: The config files that were read; a later one overrides those before.
    """
    steps = tuple(word.split("."))
    for file in reversed(list(files)):
        try:
            node = yaml.compose(file.text, yaml.SafeLoader)
        except yaml.YAMLError:
            continue
        for key, text, line in _words(node, file.key):
            is_value = text is not None and f".{text}".endswith(f".{word}")
            if key[: len(place)] == place and (is_value or key[-len(steps) :] == steps):
                return f"{file.name}, line {line}"
    return None


SECTIONS = ("model", "data", "trainer")
"""Keys at the root that hold other keys."""


_OPTIONAL = ("model", "data")


def without_empty_sections(text: str) -> str:
    """Return a config without sections, and ``init_args``, that are written with nothing below them.

    The parser would take them for null, and drop what was set before. Null that is written as such leaves a model
    or data out, and means nothing for a trainer, which each run has.

    Args:
        text: The config as YAML.
    """
    node = yaml.compose(text, yaml.SafeLoader)
    cut = next(_empty(node, ("init_args", *SECTIONS)), None)
    if cut is None:
        return text
    rest = text[: cut[0]] + text[cut[1] :]
    return without_empty_sections(rest) if yaml.compose(rest, yaml.SafeLoader) is not None else "{}"


def _empty(node: Any, names: tuple[str, ...]) -> Iterator[tuple[int, int]]:  # noqa: ANN401
    """Yield where the text of each key begins and ends that has one of some names and nothing below it."""
    for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
        is_null = value.tag == "tag:yaml.org,2002:null"
        if name.value in names and is_null and (value.value == "" or name.value not in _OPTIONAL):
            yield name.start_mark.index, value.end_mark.index
        yield from _empty(value, ("init_args",))


_WRAPPERS = ("class_path", "init_args")


def _words(node: Any, key: Key) -> Iterator[tuple[Key, str | None, int]]:  # noqa: ANN401
    """Yield the steps to each key and value below a node, its text if it is a value, and its line, counted from 1."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = key if name.value in _WRAPPERS else (*key, str(name.value))
            yield inner, None, name.start_mark.line + 1
            yield from _words(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _words(item, key)
    elif node is not None:
        yield key, str(node.value), node.start_mark.line + 1
