"""Errors of constructors that a config calls, without the words that the parser puts around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from jsonargparse import _typehints

from lasagna.cli.own_code import FRAMEWORKS, described, named_code
from lasagna.core.config import public_path
from lasagna.errors import LasagnaError


def constructor_error(
    error: Exception, raised: Sequence[tuple[object, Exception]], config: Mapping[str, Any]
) -> LasagnaError:
    """Return the error to show where an object that a config names cannot be made, without the parser's words.

    Args:
        error: What the parser raised.
        raised: Each class whose constructor raised an error, with the error.
        config: The config of the command, which tells the argument.
    """
    kind, last = raised[-1] if raised else (None, error)
    cause: BaseException = last
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, LasagnaError):
        return cause
    if isinstance(kind, type) and not f"{kind.__module__}.".startswith(FRAMEWORKS):
        return LasagnaError(_not_made(kind, last, config))
    reasons = [] if raised else _constructor_errors(str(error))
    return LasagnaError("; ".join(reasons) or " ".join(str(cause).split()))


def _not_made(kind: type, error: Exception, config: Mapping[str, Any]) -> str:
    argument = named_code(config).get(kind)
    beginning = f"{argument}: " if argument else ""
    return f"{beginning}{public_path(kind)} cannot be made: {described(error)}; mend its arguments, or the class"


def _constructor_errors(message: str) -> list[str]:
    """Return what constructors said, from the message about a value that fits none of several types.

    Args:
        message: What the parser said: one line for each type, of which those of the parser begin with "Expected".
    """
    lines = (line.strip() for line in message.splitlines())
    found = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return list(dict.fromkeys(line for line in found if not line.startswith(("Expected a", "Does not validate"))))


@contextmanager
def recorded_errors() -> Iterator[list[tuple[object, Exception]]]:
    """Collect the errors of constructors, of which the parser shows none if an argument takes one object or several.

    Yields:
        Each class that could not be made, with the error.
    """
    errors: list[tuple[object, Exception]] = []
    typehints: Any = _typehints
    found: Callable[[], Callable[..., Any]] = typehints.get_class_instantiator

    def make(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        try:
            return found()(*args, **kwargs)
        except Exception as error:
            errors.append((args[0] if args else None, error))
            raise

    with patch.object(_typehints, "get_class_instantiator", lambda: make):
        yield errors
