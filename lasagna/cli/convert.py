"""``lasagna convert NAME``: the options are those of the data set's converter and those of the conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from lasagna.cli.command_parser import CommandParser
from lasagna.datamodules.converters.catalogue import CONVERTERS, find_converter
from lasagna.datamodules.converters.common.conversion import convert
from lasagna.errors import ConfigError


def run(argv: Sequence[str]) -> None:
    """Convert a data set.

    Args:
        argv: Name of the data set, then the options.

    Raises:
        SystemExit: After help, and if an option is wrong.
        LasagnaError: If there is no such data set, it cannot be converted, or one of its options is called as one of
            the conversion's.
    """
    if not argv or argv[0].startswith("-"):
        print(usage())
        raise SystemExit(0 if argv and argv[0] in ("-h", "--help") else 2)
    converter = find_converter(argv[0])
    _check_options(converter)
    parser = CommandParser(prog=f"lasagna convert {argv[0]}")
    parser.add_class_arguments(converter)
    parser.add_function_arguments(convert, skip={"converter"})
    options = parser.parse_args(list(argv[1:]))
    names = parser.get_defaults(skip_validation=True).keys()
    given = {name: options[name] for name in names}
    own = {name: given.pop(name) for name in _parameters(converter)}
    convert(converter(**own), **given)


def usage() -> str:
    """Return the list of data sets."""
    lines = [f"  {name:<18}{text}" for name, (_, text) in CONVERTERS.items()]
    head = ["usage: lasagna convert NAME --source FOLDER --target SHARDS ...", "", "data sets:", *lines, ""]
    return "\n".join([*head, "`lasagna convert NAME --help` lists the options; file.Class is a converter of your own."])


def _check_options(converter: type) -> None:
    if doubled := [name for name in _parameters(converter) if name in _parameters(convert)]:
        raise ConfigError(
            f"{converter.__name__}: `{doubled[0]}` is an option of every conversion; call its own otherwise"
        )


def _parameters(converter: Callable[..., Any]) -> list[str]:
    return list(signature(converter).parameters)
