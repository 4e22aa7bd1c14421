"""Reading plain data from the serialised files that REFER releases, without running any of it.

Python's own reader can be made to run code. This one knows the instructions for lists, tuples, dictionaries, texts and
numbers, and refuses all others.

Source: the instructions' meaning as the standard library's ``pickletools`` documents it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lasagna.datamodules.converters.common.files import LayoutError

_MARK = object()
_PLAIN = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
    ]
)
"""Instructions that put their argument on the stack."""

_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_GETS, _PUTS = frozenset({"GET", "BINGET", "LONG_BINGET"}), frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "LIST": list,
    "TUPLE": tuple,
    "DICT": lambda parts: dict(zip(parts[::2], parts[1::2], strict=True)),
}
_IDLE = frozenset({"PROTO", "FRAME"})


def read_plain_pickle(path: Path) -> Any:  # noqa: ANN401
    """Return the lists, dictionaries, texts and numbers of a file.

    Args:
        path: The file.

    Raises:
        LayoutError: If it is missing, broken, or holds anything else than plain data.
    """
    try:
        return _Machine().run(path.read_bytes())
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: the annotation file is missing; unpack it there, or correct the source") from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError) as error:
        raise LayoutError(f"{path}: the annotation file cannot be read ({error}); unpack it again") from error


class _Machine:
    """Carries out the instructions for plain data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:  # noqa: ANN401
        for code, argument, _ in pickletools.genops(data):
            if code.name == "STOP":
                return self.stack.pop()
            self._do(code.name, argument)
        raise ValueError("it ends too early")

    def _do(self, name: str, argument: Any) -> None:  # noqa: ANN401
        if name in _PLAIN:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _GETS:
            self.stack.append(self.memory[int(argument)])
        elif name in _PUTS:
            self.memory[int(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = self.stack[-1]
        elif name in _TUPLES:
            self.stack.append(tuple(self._take(_TUPLES[name])))
        elif name not in _IDLE:
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Carry out an instruction that takes several things from the stack."""
        if name in ("APPEND", "SETITEM"):
            parts = self._take(1 if name == "APPEND" else 2)
        elif name in ("APPENDS", "SETITEMS", "LIST", "DICT", "TUPLE"):
            parts = self._since_mark()
        else:
            raise ValueError(f"it holds {name}, which is no plain data, and is not carried out")
        if name in ("APPEND", "APPENDS"):
            self.stack[-1].extend(parts)
        elif name in ("SETITEM", "SETITEMS"):
            self.stack[-1].update(zip(parts[::2], parts[1::2], strict=True))
        else:
            self.stack.append(_MAKERS[name](parts))

    def _take(self, count: int) -> list[Any]:
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _since_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken
