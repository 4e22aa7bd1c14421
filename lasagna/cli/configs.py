"""The configs that come with the package: where they are, and the command that lists and copies them."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path

from lasagna.core.storage import check_output
from lasagna.errors import ConfigError

PACKAGE = Path(__file__).parents[1]
SUFFIXES = (".yaml", ".yml")


def config_folder() -> Path:
    """Return the folder of the configs: inside an installed package, at the top of the repository otherwise."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


DEFAULTS = config_folder() / "default.yaml"
"""The config that all others change."""


def config_names() -> list[str]:
    """Return the names of all configs, such as "experiments/camvid.yaml", folder by folder."""
    folder = config_folder()
    files = [file.relative_to(folder) for file in folder.rglob("*.yaml")]
    return [file.as_posix() for file in sorted(files, key=lambda file: (file.parent, file.name))]


def packaged_config(name: str) -> Path | None:
    """Return the config of the package that a name stands for, or None if there is no such config.

    Args:
        name: Such as "experiments/camvid.yaml"; "configs/" before it and a missing suffix make no difference.
    """
    short = name.removeprefix("./").removeprefix("configs/")
    known = config_names()
    found = next((each for each in (short, f"{short}.yaml") if each in known), None)
    return None if found is None else config_folder() / found


def local_or_packaged(value: str) -> str:
    """Return the file that a value of the command line names.

    Args:
        value: Any value. A file that exists is left as it is.

    Returns:
        The path of the package's config if the value is the name of one, and the value itself otherwise.
    """
    if not value.endswith(SUFFIXES) or Path(value).is_file():
        return value
    return str(packaged_config(value) or value)


def run(argv: Sequence[str]) -> None:
    """List the configs of the package, print one, or copy one.

    Args:
        argv: The command line after ``configs``.

    Raises:
        SystemExit: After help, and if an option is wrong.
        ConfigError: If there is no such config, or the copy would overwrite something.
    """
    parser = argparse.ArgumentParser(
        prog="lasagna configs",
        description="List the configs that come with the package, print one, or copy one to edit it.",
        epilog="Train with one from any folder: lasagna train --config NAME. A local file of the same path wins.",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?", help="a config, such as experiments/camvid.yaml; without it all are listed")
    parser.add_argument(
        "--copy", nargs="?", const=".", metavar="TO", help="copy it to this file or folder (the current one by default)"
    )
    options = parser.parse_args(argv)
    if options.name is None:
        if options.copy is not None:
            raise ConfigError("copy: name a config to copy, e.g. lasagna configs experiments/camvid.yaml --copy")
        print(listing())
        return
    file = packaged_config(options.name)
    if file is None:
        raise ConfigError(f"name: the package has no config {options.name!r}; {_hint(options.name)}")
    print(file.read_text("utf-8") if options.copy is None else copy_config(file, Path(options.copy)))


def listing() -> str:
    """Return the names of all configs with what each is for, grouped by folder."""
    names = config_names()
    width = max(map(len, names)) + 2
    groups = groupby(names, key=lambda name: name.rpartition("/")[0])
    parts = [
        "\n".join([f"{folder}/" if folder else "configs/", *(f"  {name:<{width}}{_purpose(name)}" for name in members)])
        for folder, members in groups
    ]
    return "\n\n".join([*parts, "Use one by --config NAME, or copy it to edit: lasagna configs NAME --copy"])


def copy_config(file: Path, target: Path) -> Path:
    """Copy a config; another config that it names by a relative path takes that path's place.

    Args:
        file: The config.
        target: A new file, or a folder.

    Returns:
        The new file.

    Raises:
        ConfigError: If the target exists.
    """
    target = target / file.name if target.is_dir() or not target.suffix else target
    if target.exists():
        raise ConfigError(f"copy: {str(target)!r} exists and is not overwritten; name another file after --copy")
    check_output(target.parent, "copy")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_RELATIVE.sub(lambda found: _inlined(file, found), file.read_text("utf-8")), encoding="utf-8")
    return target


_RELATIVE = re.compile(r"^( *)(\w+): (\.\.?/\S+\.yaml)$", re.MULTILINE)


def _inlined(file: Path, found: re.Match[str]) -> str:
    """Return a key with the content of the file that it names, since a copy lies elsewhere."""
    indent, key, other = found.groups()
    content = (file.parent / other).read_text("utf-8").rstrip()
    return f"{indent}{key}:\n" + textwrap.indent(content, f"{indent}  ")


def _purpose(name: str) -> str:
    """Return the first sentence of a config's header, on one line and without its full stop."""
    header = re.match(r"(?:#.*\n)*", (config_folder() / name).read_text("utf-8"))
    text = " ".join(line.lstrip("# ") for line in header[0].splitlines()) if header else ""
    sentence = re.split(r"\. |; | Needs: ", text)[0].rstrip(".")
    return textwrap.shorten(sentence, 100, placeholder=" ...")


def _hint(name: str) -> str:
    near = get_close_matches(name.removeprefix("configs/"), config_names(), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "`lasagna configs` lists them"
