"""Where a config swaps a part, the new part starts from its own defaults.

This replaces a function that jsonargparse 4.53 keeps private (a test holds on to its form), since its public means do
not do it: the parser of the new class is told which arguments are left of the old one, and not of which class they
were; no setting turns the taking over off; and a part cannot be emptied on the command line first, as a list can,
since null is no part and an abstract class is refused. The command line alone would not do either: a file of settings
may name a part's file, which names the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pydoc import locate
from typing import Any
from unittest.mock import patch

from jsonargparse import Namespace, _typehints

from lasagna.modules.base import LanguageModel, MaskHead, VisionEncoder

PARTS = (VisionEncoder, LanguageModel, MaskHead)
"""Base classes of what does not hand on its arguments."""

_kept_where_accepted: Callable[[Any, Any, Any], None] = _typehints.discard_init_args_on_class_path_change


@contextmanager
def parts_start_anew() -> Iterator[None]:
    """While parsing, drop all arguments of a part whose class changes.

    The parser keeps those that the new class accepts as well, its predecessor's defaults among them. For a task or an
    assistant that is what one wants (its parts stay); a SAM decoder has no use for the chunk of the tiny one.
    """
    with patch.object(_typehints, "discard_init_args_on_class_path_change", _discard):
        yield


def _discard(parser_or_action: Any, before: Any, after: Any) -> None:  # noqa: ANN401 - as the parser calls it
    kinds = [_class(spec) for spec in (before, after)]
    if all(map(_is_part, kinds)) and kinds[0] is not kinds[1] and "init_args" in before:
        before["init_args"] = type(before["init_args"])()
    else:
        # what the parser tries on the new class comes back changed: an adapter as a class, and as its fields as well
        tried = deepcopy(before)
        _kept_where_accepted(parser_or_action, tried, after)
        _drop_others(before, tried)


def _drop_others(spec: Any, kept: Any) -> None:  # noqa: ANN401
    """Drop the arguments of a class that another copy of its description does not have."""
    if isinstance(spec, Namespace) and "init_args" in spec:
        arguments = spec["init_args"]
        for name in sorted(set(arguments.keys(branches=True)) - set(kept["init_args"].keys(branches=True)), key=len):
            if name in arguments:
                del arguments[name]


def _class(spec: Any) -> object:  # noqa: ANN401
    # a class that was named by itself has got its path by now
    return locate(str(spec["class_path"])) if spec else None


def _is_part(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, PARTS)
