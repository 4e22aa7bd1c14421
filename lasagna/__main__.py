"""The ``lasagna`` command: typed functions, each imported when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from lasagna import __version__
from lasagna.errors import LasagnaError

COMMANDS = {
    "predict": ("lasagna.cli.predict:predict", "answer queries about a picture or a folder of pictures"),
    "calibrate": ("lasagna.cli.calibrate:calibrate", "make presence scores mean what they say"),
    "convert": ("lasagna.cli.convert:run", "write a data set as shards: convert NAME ..."),
    "verify": ("lasagna.datamodules.shards.verify:verify", "compare shards with the checksums in their manifests"),
    "inspect": (
        "lasagna.cli.inspect:inspect",
        "count what is in shards, draw examples and look for what is wrong",
    ),
    "evaluate": ("lasagna.cli.evaluate:evaluate", "answer a data set, score the answers and write a report"),
    "export": ("lasagna.cli.export:export", "write an assistant as a folder: adapters and heads, or as released"),
    "import": (
        "lasagna.modules.checkpoints.released.importing:import_assistant",
        "make an assistant of a released model",
    ),
    "sweep": ("lasagna.cli.sweeps.run:sweep", "run a grid of config values and seeds"),
    "report": ("lasagna.cli.sweeps.report:report", "turn a folder of runs into a table and a plot"),
    "pretrain": ("lasagna.tasks.pretrain.command:pretrain", "make the weights of the tiny parts again"),
}
"""Command to where its function is, and what it does."""

NAMELESS = {"import": "source", "verify": "shards"}
"""Command to the argument that may come first without its flag."""

MANY_NAMELESS = {"calibrate": "shards", "inspect": "shards"}
"""Command to the argument that may be given several times without its flag, before all others."""

OWN_OPTIONS = ("convert",)
"""Commands that read their command line themselves, since the options depend on the first word."""

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main(argv: list[str] | None = None) -> None:
    """Run a command.

    Args:
        argv: The command line without the program's name; None for that of the process.

    Raises:
        SystemExit: After help or version, after Ctrl-C, and if the input is at fault; the reason has been printed.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        raise SystemExit(0 if argv else 2)
    if argv[0] == "--version":
        print(__version__)
        raise SystemExit(0)
    if argv[0] not in COMMANDS:
        raise SystemExit(_unknown(argv[0]))
    _settle()
    try:
        _run(*argv)
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        raise SystemExit(STOPPED) from stop
    except Exception as error:
        if not _is_inputs(error):
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def usage() -> str:
    """Return the list of commands."""
    lines = [f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()]
    head = ["usage: lasagna COMMAND ...", "", "commands:", *lines, ""]
    return "\n".join([*head, "`lasagna COMMAND --help` lists the options; training is `python train.py`."])


def _run(name: str, *argv: str) -> None:
    module, function = COMMANDS[name][0].split(":")
    command = getattr(import_module(module), function)
    if name in OWN_OPTIONS:
        command(argv)
        return
    from jsonargparse import auto_cli

    from lasagna.cli.command_parser import CommandParser

    auto_cli(
        command,
        args=_flagged(name, argv),
        as_positional=False,
        parser_class=CommandParser,
        prog=f"lasagna {name}",
    )


def _flagged(name: str, argv: Sequence[str]) -> list[str]:
    if name in MANY_NAMELESS:
        first = next((rank for rank, word in enumerate(argv) if word.startswith("-")), len(argv))
        return [*(f"--{MANY_NAMELESS[name]}+={word}" for word in argv[:first]), *argv[first:]]
    if name in NAMELESS and argv and not argv[0].startswith("-"):
        return [f"--{NAMELESS[name]}={argv[0]}", *argv[1:]]
    return list(argv)


def _settle() -> None:
    # users' own classes as `file.Class`: a script has its folder on the path, an installed command has not
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _is_inputs(error: Exception) -> bool:
    # their packages are slow to import; an error of theirs means that they are there already
    names = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    foreign = {"lightning.MisconfigurationException", "omegaconf.OmegaConfBaseException"}
    return isinstance(error, LasagnaError) or bool(names & foreign)


def _unknown(name: str) -> int:
    from difflib import get_close_matches

    near = get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
    print(f"error: there is no command {name!r}; {hint}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
