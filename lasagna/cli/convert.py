"""``lasagna convert NAME``: write a data set as shards, with the options of its converter and of every conversion."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature

from lasagna.cli.command_parser import CommandParser
from lasagna.datamodules.converters.catalogue import CONVERTERS, find_converter
from lasagna.datamodules.converters.common.conversion import convert
from lasagna.errors import ConfigError


def run(argv: Sequence[str]) -> None:
    """Convert a data set.

    Args:
        argv: Name of the data set, then the options.

    Raises:
        SystemExit: After printing help, or if an option is invalid.
        LasagnaError: If there is no such data set, it cannot be converted, or its converter has an option of the same
            name as every conversion.
    """
    if not argv or argv[0].startswith("-"):
        print(usage())
        raise SystemExit(0 if argv and argv[0] in ("-h", "--help") else 2)
    converter = find_converter(argv[0])
    own_names = list(signature(converter).parameters)
    if repeated := [name for name in own_names if name in signature(convert).parameters]:
        raise ConfigError(
            f"{converter.__name__}: `{repeated[0]}` is an option of every conversion; rename the converter's option"
        )
    parser = CommandParser(prog=f"lasagna convert {argv[0]}")
    parser.add_class_arguments(converter)
    parser.add_function_arguments(convert, skip={"converter"})
    options = parser.parse_args(list(argv[1:]))
    names = parser.get_defaults(skip_validation=True).keys()
    values = {name: options[name] for name in names}
    own = {name: values.pop(name) for name in own_names}
    convert(converter(**own), **values)


def usage() -> str:
    """Return the help without a data set: the list of data sets."""
    lines = [f"  {name:<18}{text}" for name, (_, text) in CONVERTERS.items()]
    head = ["usage: lasagna convert NAME --source FOLDER --target SHARDS ...", "", "data sets:", *lines, ""]
    return "\n".join([*head, "`lasagna convert NAME --help` lists the options; file.Class is a converter of your own."])
