"""The layout of REFER, which RefCOCO and gRefCOCO share: its folders, and its files of references.

Files of references are pickles, which can be made to run code. The reader in this file finds no classes and functions,
as the documentation of ``pickle`` advises ("Restricting Globals"), so that only plain data comes out.

Source: ``lichengunc/refer``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import Unpickler, UnpicklingError
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
        sentences = reference["sentences"]
        only_raw = any(isinstance(one, dict) and "raw" in one and "sent" not in one for one in sentences)
        check_entries(sentences, {"raw" if only_raw else "sent": str}, f"{path}: references[{place}]: sentences")
    return list(references)


def words_of(sentence: Mapping[str, Any]) -> str:
    """Return the cleaned words of a sentence, or those that were written if a release has no others."""
    return str(sentence["sent"] if "sent" in sentence else sentence["raw"])


def split_names(split: str) -> list[str]:
    """Return the splits that a reference belongs to: "testAB" is in testA and testB."""
    letters = split.removeprefix("test")
    return [f"test{letter}" for letter in letters] if split.startswith("test") and letters else [split]


def read_plain_pickle(path: Path) -> Any:  # noqa: ANN401
    """Return the lists, dictionaries, texts and numbers of a pickle without running code.

    Texts of Python 2 are bytes; they are read as UTF-8, or as Latin-1 where they are not.

    Args:
        path: The file.

    Raises:
        LayoutError: If it is missing, broken, or holds anything but plain data.
    """
    try:
        with path.open("rb") as file:
            return _decoded(_PlainUnpickler(file, encoding="utf-8", errors="surrogateescape").load())
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: the annotation file is missing; unpack it there, or correct the source") from error
    except (LookupError, AttributeError, EOFError, MemoryError, OSError, *_BROKEN) as error:
        raise LayoutError(f"{path}: the annotation file cannot be read ({error!r}); unpack it again") from error


_BROKEN = (UnpicklingError, ValueError, TypeError, OverflowError, RecursionError)
"""Errors of damaged pickles, and of those that hold more than plain data."""


class _PlainUnpickler(Unpickler):
    """Reads plain data: without a class or a function, a pickle can make nothing else and run nothing."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        raise UnpicklingError(f"it names {module}.{name}, which is not plain data and is not executed")


def _decoded(value: Any) -> Any:  # noqa: ANN401
    """Return plain data in which texts that are not UTF-8 are read as Latin-1."""
    if isinstance(value, str):
        return value if value.isascii() else _text(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, dict):
        return {_decoded(name): _decoded(part) for name, part in value.items()}
    return type(value)(map(_decoded, value)) if isinstance(value, list | tuple) else value


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
