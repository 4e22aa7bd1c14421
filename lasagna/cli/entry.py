"""What both entry points, ``lasagna`` and ``train.py``, do before and after a command; imports nothing heavy."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from lasagna.cli.own_code import TRACEBACK, own_error
from lasagna.core.storage import is_storage_error, storage_reason
from lasagna.errors import LasagnaError

STOPPED = 130
"""Exit status after Ctrl-C, as shells have it."""


def import_from_working_directory() -> None:
    """Let configs name a user's own classes as ``file.Class``; an installed command lacks the folder on its path."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def is_input_error(error: BaseException) -> bool:
    """Say whether an error is due to the input, and is shown without a traceback.

    Args:
        error: Any error. Those of libraries are told by name, since importing the libraries is slow.
    """
    names = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    foreign = {"lightning.MisconfigurationException", "omegaconf.OmegaConfBaseException"}
    return isinstance(error, LasagnaError) or is_storage_error(error) or bool(names & foreign)


def message_of(error: BaseException) -> str:
    """Return the message of an error that is due to the input."""
    if isinstance(error, OSError) and is_storage_error(error) and not isinstance(error, LasagnaError):
        return storage_reason(error)
    return str(error)


@contextmanager
def errors_on_one_line(message: Callable[[Exception], str] = message_of) -> Iterator[None]:
    """Print errors that are due to the input or a user's own code, and Ctrl-C, on one line without a traceback.

    Args:
        message: Turns an error into what is printed.

    Raises:
        SystemExit: After such an error.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        print("stopped", file=sys.stderr)
        raise SystemExit(STOPPED) from stop
    except Exception as error:
        said = message(error) if is_input_error(error) else own_error(error)
        if said is None:
            raise
        if os.environ.get(TRACEBACK):
            traceback.print_exception(error)
        print(f"error: {said}", file=sys.stderr)
        raise SystemExit(2) from error


def unknown_word(kind: str, word: str, known: Iterable[str]) -> str:
    """Return the error for a word that is not known.

    Args:
        kind: What the word should be, e.g. "command".
        word: The word.
        known: The words that are known.
    """
    near = get_close_matches(word, list(known), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
    return f"error: there is no {kind} {word!r}; {hint}"
