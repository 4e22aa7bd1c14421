"""Bare class names in configs: a class that lasagna exports is imported when a config first names it.

jsonargparse knows a bare name only if its class has been imported, and importing every export loads transformers, timm
and peft, whichever parts a command uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_origin
from unittest.mock import patch

from jsonargparse import _typehints

from lasagna import datamodules, modules, tasks

PACKAGES = (modules, datamodules, tasks)
"""The packages that export what a config can name."""

_resolve_imported: Callable[[Any, str], str] = _typehints.resolve_class_path_by_name


@contextmanager
def bare_class_names() -> Iterator[None]:
    """While parsing, resolve the bare name of every export."""
    with patch.object(_typehints, "resolve_class_path_by_name", _resolve):
        yield


def import_exports() -> None:
    """Import all exports, for lists of what an argument takes and for hints at the nearest name."""
    for package in PACKAGES:
        for name in package.__all__:
            getattr(package, name)


def _resolve(base: Any, name: str) -> str:  # noqa: ANN401 - as the parser calls it
    for package in PACKAGES:
        if name in package.__all__:
            getattr(package, name)
            # what a loss is called for is a dictionary, of which the exported loss is no subclass
            if get_origin(base) is dict:
                return f"{package.__name__}.{name}"
    return _resolve_imported(base, name)
