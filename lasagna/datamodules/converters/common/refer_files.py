"""The layout of REFER, which RefCOCO and gRefCOCO share: its folders, and its files of references.

Files of references are pickles, and Python's own reader can be made to run code. The reader in this file knows only the
instructions for lists, tuples, dictionaries, texts and numbers, and refuses all others.

Source: ``lichengunc/refer``; the meaning of the instructions as documented in the standard library's ``pickletools``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.entries import ID, Kinds, check_entries, read_json
from lasagna.datamodules.converters.common.files import LayoutError

REFERENCE: Kinds = {"split": str, "image_id": ID, "ann_id": ID, "sentences": list}
COCO_IMAGES = Path("images/mscoco/images/train2014")


NOTHING = -1
"""The id of an annotation that means that there is no target."""


def refer_manifest(name: str) -> Manifest:
    """Return the manifest of a data set that has only phrases."""
    return Manifest(
        name=name,
        unannotated="unknown",
        origin=f"{name} in the layout of REFER (lichengunc/refer)",
        licence="expressions as their authors state (Apache-2.0 for the tools); images under the terms of their sets",
    )


def image_places(source: Path, usual: Path) -> list[Path]:
    """Return where images may be: in the folder that REFER keeps them in, or in one of the same name nearby."""
    places = (usual, Path("images/mscoco") / usual.name, Path("images") / usual.name, Path(usual.name))
    return [root / place for place in places for root in (source, source.parent)]


def data_folder(source: Path, datasets: Sequence[str], expected: str) -> Path:
    """Return the folder of the annotations: the source, or its folder with one of the data set's names.

    Raises:
        LayoutError: If none holds ``instances.json``.
    """
    folders = [*(source / dataset for dataset in datasets), source]
    for folder in folders:
        if (folder / "instances.json").is_file():
            return folder
    raise LayoutError(f"source: neither {' nor '.join(map(str, folders))} holds instances.json; expected{expected}")


def references_file(folder: Path, *names: str) -> Path:
    """Return the first file of references that exists, a pickle or JSON.

    Raises:
        LayoutError: If there is none.
    """
    files = [folder / f"{name}{suffix}" for name in names for suffix in (".json", ".p")]
    if found := next((path for path in files if path.is_file()), None):
        return found
    others = ", ".join(sorted(path.name for path in folder.glob("*refs*"))) or "none"
    raise LayoutError(f"split_by: there is no {' or '.join(map(str, files))}; there are {others}")


def read_references(path: Path, kinds: Kinds = REFERENCE) -> list[Mapping[str, Any]]:
    """Read a file of references.

    Raises:
        LayoutError: If it is broken, or holds something else.
    """
    references = read_json(path) if path.suffix == ".json" else read_plain_pickle(path)
    check_entries(references, kinds, f"{path}: references")
    for place, reference in enumerate(references):
        check_entries(reference["sentences"], {"sent": str}, f"{path}: references[{place}]: sentences")
    return list(references)


def split_names(split: str) -> list[str]:
    """Return the splits that a reference belongs to: "testAB" is in testA and testB."""
    letters = split.removeprefix("test")
    return [f"test{letter}" for letter in letters] if split.startswith("test") and letters else [split]


_MARK = object()
_PLAIN = frozenset(
    {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"}
    | {"SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
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
_IGNORED = frozenset({"PROTO", "FRAME"})


def read_plain_pickle(path: Path) -> Any:  # noqa: ANN401
    """Return the lists, dictionaries, texts and numbers of a pickle without running code.

    Args:
        path: The file.

    Raises:
        LayoutError: If it is missing, broken, or holds anything but plain data.
    """
    try:
        return _Machine().run(path.read_bytes())
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: the annotation file is missing; unpack it there, or correct the source") from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OSError) as error:
        raise LayoutError(f"{path}: the annotation file cannot be read ({error}); unpack it again") from error


class _Machine:
    """Executes the instructions for plain data."""

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
        elif name not in _IGNORED:
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Execute an instruction that takes several objects from the stack."""
        if name in ("APPEND", "SETITEM"):
            parts = self._take(1 if name == "APPEND" else 2)
        elif name in ("APPENDS", "SETITEMS", "LIST", "DICT", "TUPLE"):
            parts = self._since_mark()
        else:
            raise ValueError(f"it holds the instruction {name}, which is not plain data and is not executed")
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
