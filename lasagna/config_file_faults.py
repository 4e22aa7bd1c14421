"""What is wrong with a config file as a whole: no mapping of keys to values, or one that belongs to another option."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

_YAML_PLACE = re.compile(r'in "<[^>]*>", ')
_ROOTS = re.compile(r"Config file loop detected: (.+?) -> ")
_PATH = re.compile(r"Expected a path but (\S+\.ya?ml) either not accessible")
_UNREADABLE = ("Unexpected config:", "Problems parsing config:")
_UNKNOWN = re.compile(r"does not accept option '(?:class_path|init_args|dict_kwargs)")


def file_fault(message: str, files: Iterable[Path]) -> str | None:
    """Return which config file is at fault, and why, if the parser's message comes from a file as a whole.

    Args:
        message: What the parser said.
        files: The config files that were read.
    """
    if message.startswith(_UNREADABLE):
        return next((fault for file in files if (fault := _no_mapping(file))), None)
    if _UNKNOWN.search(message):
        return next((fault for file in files if (fault := _part_alone(file))), None)
    absent = _PATH.search(message)
    if absent is not None and not Path(absent[1]).is_file():
        return f"there is no file {absent[1]!r}"
    # a file that is no part is taken for one more file of settings, which names itself
    found = _ROOTS.search(message)
    return None if found is None else f"{found[1]}: it holds settings from the root; give it as --config {found[1]}"


def _no_mapping(file: Path) -> str | None:
    try:
        content = _content(file)
    except yaml.YAMLError as fault:
        return f"{file}: no YAML: {_YAML_PLACE.sub('', str(fault))}"
    if isinstance(content, dict):
        return None
    found = "nothing" if content is None else f"a {type(content).__name__}"
    return f"{file}: expected settings (`key: value`), found {found}"


def _part_alone(file: Path) -> str | None:
    content = _content(file)
    if not isinstance(content, dict) or "class_path" not in content:
        return None
    return (
        f"{file}: it describes one part ({content['class_path']}), and --config takes settings from the root; give it "
        "to the part's own option (--model.assistant.vision_encoder, --data and so on)"
    )


def _content(file: Path) -> Any:  # noqa: ANN401
    return yaml.safe_load(file.read_text(encoding="utf-8"))
