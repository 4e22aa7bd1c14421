"""The ``lasagna`` command; each subcommand is imported when it is used."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from lasagna import __version__
from lasagna.cli.configs import local_or_packaged
from lasagna.cli.entry import errors_on_one_line, import_from_working_directory, unknown_word

COMMANDS = {
    "train": ("lasagna.cli.train:main", "train and test an assistant: train [JOB] ..."),
    "plan": ("lasagna.cli.plan:run", "say what a training takes, without weights: plan --config ..."),
    "predict": ("lasagna.cli.predict:predict", "answer queries about an image or a folder of images"),
    "label": ("lasagna.cli.label:label", "label a folder of images by typing names: label FOLDER --names FILE"),
    "serve": ("lasagna.cli.serve:serve", "answer queries about images over HTTP"),
    "evaluate": ("lasagna.cli.evaluate:evaluate", "answer a data set, score the answers and write a report"),
    "calibrate": ("lasagna.cli.calibrate:calibrate", "calibrate presence scores: calibrate SHARDS ..."),
    "configs": ("lasagna.cli.configs:run", "list the configs of the package, or copy one to edit"),
    "convert": ("lasagna.cli.convert:run", "write a data set as shards: convert NAME ..."),
    "index": (
        "lasagna.datamodules.converters.existing_shards:index",
        "write a manifest over WebDataset shards that are there already",
    ),
    "verify": ("lasagna.datamodules.shards.verify:verify", "compare shards with their checksums: verify SHARDS"),
    "inspect": ("lasagna.cli.inspect:inspect", "count, draw and audit what shards hold: inspect SHARDS ..."),
    "export": ("lasagna.cli.export:export", "write an assistant as a folder: adapters and heads, or as released"),
    "push": ("lasagna.cli.push:push", "put an assistant on the hub with a model card: push CKPT user/name"),
    "import": (
        "lasagna.modules.checkpoints.released.importing:import_assistant",
        "make an assistant from a released model: import SOURCE ...",
    ),
    "sweep": ("lasagna.cli.sweeps.run:sweep", "run a grid of config values and seeds"),
    "report": ("lasagna.cli.sweeps.report:report", "turn a folder of runs into a table and a plot"),
    "pretrain": ("lasagna.tasks.pretrain.command:pretrain", "train the packaged weights of the tiny parts again"),
}
"""Command to its function and what it does."""

POSITIONAL = {"import": ("source",), "label": ("folder",), "push": ("ckpt", "name"), "verify": ("shards",)}
"""Command to the arguments that may come first without their flags."""

POSITIONAL_LISTS = {"calibrate": "shards", "inspect": "shards"}
"""Command to the list that may be given without its flag, before all others, or with the flag at each item."""

REPEATED = {"predict": "image"}
"""Command to the argument that may be given several times with its flag."""

OWN_OPTIONS = ("configs", "convert", "plan", "train")
"""Commands that parse their own command line."""


def main(argv: list[str] | None = None) -> None:
    """Run a command.

    Args:
        argv: The command line without the program's name; None for that of the process.

    Raises:
        SystemExit: After help or version, after Ctrl-C, and if the input is wrong; the reason has been printed.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        raise SystemExit(0 if argv else 2)
    if argv[0] == "--version":
        print(__version__)
        raise SystemExit(0)
    if argv[0] not in COMMANDS:
        print(unknown_word("command", argv[0], COMMANDS), file=sys.stderr)
        raise SystemExit(2)
    import_from_working_directory()
    # from half of its limit on; whoever names a file on a command line trusts it
    warnings.filterwarnings("ignore", r"Image size \(\d+ pixels\) exceeds limit", append=True)
    with errors_on_one_line():
        _run(*argv)


def usage() -> str:
    """Return the list of commands."""
    lines = [f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()]
    head = ["usage: lasagna COMMAND ...", "", "commands:", *lines, ""]
    return "\n".join([*head, "`lasagna COMMAND --help` lists the options."])


def _run(name: str, *argv: str) -> None:
    module, function = COMMANDS[name][0].split(":")
    command = getattr(import_module(module), function)
    if name in OWN_OPTIONS:
        command(list(argv))
        return
    from jsonargparse import auto_cli

    from lasagna.cli.class_names import bare_class_names
    from lasagna.cli.command_parser import CommandParser

    with bare_class_names():
        auto_cli(
            command,
            args=_with_flags(name, argv),
            as_positional=False,
            parser_class=CommandParser,
            prog=f"lasagna {name}",
            epilog=_short_form(name),
        )


def _short_form(name: str) -> str | None:
    """Return how a command is called without the flag of its first argument, for its help."""
    words = (POSITIONAL_LISTS[name],) if name in POSITIONAL_LISTS else POSITIONAL.get(name, ())
    shown = " ".join(words).upper()
    more = f" [{shown} ...]" if name in POSITIONAL_LISTS else ""
    return f"Short form: lasagna {name} {shown}{more} [OPTION ...]" if words else None


def _with_flags(name: str, argv: Sequence[str]) -> list[str]:
    """Return a command line with a flag for each argument, in which names of the package's configs are paths.

    A config file comes first, so that everything else that is typed overrides it.
    """
    from lasagna.cli.arguments import configs_first

    argv = [_with_config_path(word) for word in argv]
    first = next((rank for rank, word in enumerate(argv) if word.startswith("-")), len(argv))
    if name in POSITIONAL_LISTS and first:
        argv = [*(f"--{POSITIONAL_LISTS[name]}={word}" for word in argv[:first]), *argv[first:]]
    elif name in POSITIONAL and first:
        given = list(zip(POSITIONAL[name], argv[:first], strict=False))
        argv = [*(f"--{flag}={word}" for flag, word in given), *argv[len(given) :]]
    repeated = REPEATED.get(name, POSITIONAL_LISTS.get(name))
    return configs_first(_joined(f"--{repeated}", argv, name in POSITIONAL_LISTS) if repeated else argv)


def _joined(flag: str, argv: Sequence[str], listed: bool) -> list[str]:
    """Return a command line in which the values of a flag that is given several times are one list.

    Args:
        flag: The flag.
        argv: The command line.
        listed: Whether one value is a list too, unless it is typed as one.
    """
    kept, values, words = list[str](), list[str](), list(argv)
    while words:
        word = words.pop(0)
        if word == flag and words and not words[0].startswith("--"):
            values.append(words.pop(0))
        elif word.startswith(f"{flag}="):
            values.append(word.partition("=")[2])
        else:
            kept.append(word)
    alone = len(values) == 1 and not (listed and not values[0].startswith("["))
    # what is appended stays behind what it is appended to
    if not values or alone or any(word.partition("=")[0] == f"{flag}+" for word in kept):
        return list(argv)
    return [*kept, f"{flag}={json.dumps([item for value in values for item in _items(value)])}"]


def _items(value: str) -> list[str]:
    """Return the items of a list that was typed, or the one that is none."""
    import yaml  # type: ignore[import-untyped]

    try:
        found = yaml.safe_load(value) if value.startswith("[") else value
    except yaml.YAMLError:
        found = value
    return found if isinstance(found, list) else [value]


def _with_config_path(word: str) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{equals}{local_or_packaged(value)}"


if __name__ == "__main__":
    main()
