"""A config parser whose errors are short: what is wrong, where, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser

from lasagna.datamodules import DataWriter, RecordTransform, Strategy
from lasagna.dialogue import DialogueMaker
from lasagna.suggestions import suggestion, whereabouts

BASES = (Callback, DataWriter, DialogueMaker, LightningDataModule, LightningModule, RecordTransform, Strategy)
"""Base classes of what a config can name."""

_NOISE = re.compile(
    r"Union subtypes|Subtypes:|NoneType|Given value|^\s*Errors:|Expected a path but|Problem with given class_path|^\s*$"
)
_STEP = re.compile(r'Parser key "([^"]+)"')
_WORDS = (
    (re.compile(r"Expected a dot import path string: (\S+)"), r"no class is called '\1'"),
    (re.compile(r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)"), r"expected one of \1, got '\2'"),
    (re.compile(r"Expected a <class '([\w.]+)'>\. Got value: (.*)"), r"expected \1, got '\2'"),
    (re.compile(r"Option '([\w.]+)' is not accepted"), r"there is no option '\1'"),
)
_STEP_TEXT = re.compile(r'Parser key "[^"]+":')


class ConfigParser(LightningArgumentParser):
    """Lightning's parser with short errors."""

    files: tuple[Path, ...] = ()
    """The config files of this command, for the place of a mistake."""

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
    path = ".".join(_STEP.findall(message))
    lines = [_STEP_TEXT.sub("", line).strip(" -") for line in message.splitlines() if not _NOISE.search(line)]
    reason = _reworded("\n  ".join(line for line in lines if line))
    place, hint = whereabouts(message, files), suggestion(message, BASES, keys)
    first = f"{path}: {reason}" if path else reason
    return "\n  ".join([first, *([f"in {place}"] if place else []), *([hint] if hint else [])])


def _reworded(reason: str) -> str:
    for pattern, words in _WORDS:
        reason = pattern.sub(words, reason)
    return reason
