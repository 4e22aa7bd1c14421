"""A config parser whose errors are short: what is wrong, where, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from lasagna.config_file_faults import file_fault
from lasagna.datamodules import DataWriter, RecordTransform, Strategy
from lasagna.dialogue import DialogueMaker
from lasagna.suggestions import suggestion, whereabouts

BASES = (Callback, DataWriter, DialogueMaker, LightningDataModule, LightningModule, RecordTransform, Strategy)
"""Base classes of what a config can name."""

_NOISE = re.compile(
    r"Union subtypes|Subtypes:|NoneType|Given value|^\s*Errors:|Expected a path but|Problem with given class_path|^\s*$"
)
_GIVEN = re.compile(r"Given value: (.*)")
_CHOICES = re.compile(r"Expected a typing\.Literal\[(.*?)\](?:\. Got value: (.*))?$")
_ALSO = re.compile(r"Expected a (dot import path string: \S+|<class '(\w+)'>)$")
_STEP = re.compile(r'Parser key "([^"]+)"')
_WORDS = (
    (re.compile(r"Expected a dot import path string: None$"), "no class is called 'None'; a part is left out by null"),
    (re.compile(r"Expected a dot import path string:(?: (\S+))?"), r"no class is called '\1'"),
    (re.compile(r"Expected a <class 'tuple'>\. Got value: (.*)"), r"expected values in brackets ('[1, 2]'), got '\1'"),
    (re.compile(r"Expected a <class '([\w.]+)'>\. Got value: (.*)"), r"expected \1, got '\2'"),
    (re.compile(r"Option '([\w.]+)' is not accepted"), r"there is no option '\1'"),
)
_STEP_TEXT = re.compile(r'Parser key "[^"]+":')


class ConfigParser(LightningArgumentParser):
    """Lightning's parser with short errors."""

    files: tuple[Path, ...] = ()
    """The config files of this command, for the place of a mistake."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # a key that is cut short would be taken for whatever begins so
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> Any:  # noqa: ANN401
        """Say what is wrong rather than list every option there is."""
        if not self.exit_on_error:
            # inner parsers report to outer ones, which know the path to the key
            return super().error(message, ex)
        return self.exit(2, f"error: {explain(message, self.files, self._known_keys())}\n")

    def _known_keys(self) -> list[str]:
        return list(self.get_defaults(skip_validation=True).keys())


def explain(message: str, files: Iterable[Path], keys: Iterable[str]) -> str:
    """Return what is wrong at which key, with the place of the mistake and the nearest match.

    Args:
        message: What the parser said: the keys from the outermost to the innermost, then what is wrong there.
        files: The config files that were read.
        keys: Keys that the config knows.
    """
    fault = file_fault(message, files)
    if fault is not None:
        return fault
    path = ".".join(_STEP.findall(message))
    lines = [_STEP_TEXT.sub("", line).strip(" -") for line in message.splitlines() if not _NOISE.search(line)]
    given = _GIVEN.search(message)
    choices, reasons = _choices([line for line in lines if line], given[1] if given else "")
    reason = "\n  ".join(dict.fromkeys(map(_reworded, reasons)))
    place, hint = whereabouts(message, files), suggestion(message, BASES, keys, choices)
    first = f"{path}: {reason}" if path else reason
    return "\n  ".join([first, *([f"in {place}"] if place else []), *([hint] if hint else [])])


def _choices(lines: list[str], given: str) -> tuple[tuple[str, list[str]] | None, list[str]]:
    """Make one line of all that say which values are allowed; also return the value and these, if there are any."""
    found = [match for line in lines if (match := _CHOICES.search(line))]
    if not found:
        return None, lines
    value = found[0][2] or given
    allowed = list({word.strip("'\""): word for match in found for word in match[1].split(", ")}.items())
    others = [line for line in lines if not _CHOICES.search(line)]
    also = [match[2] or "a class" for line in others if (match := _ALSO.search(line))]
    words = ", ".join([*(word for _, word in allowed), *(f"or {word}" for word in dict.fromkeys(also))])
    kept = [line for line in others if not _ALSO.search(line)]
    return (value, [name for name, _ in allowed]), [f"expected one of {words}, got '{value}'", *kept]


def _reworded(reason: str) -> str:
    for pattern, words in _WORDS:
        reason = pattern.sub(words, reason)
    return reason
