"""Points, boxes and the mask of an earlier answer on the command line."""

# without `from __future__ import annotations`, as `predict` has it
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lasagna.core.json_text import parse_json
from lasagna.errors import QueryError, RecordError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.core.batch import Query
    from lasagna.core.masks import RLEMask


def with_pointing(
    queries: "list[Query]",
    image: Path,
    points: Sequence[Sequence[float | str]] | None,
    boxes: Sequence[Sequence[float]] | None,
    mask: Path | None,
) -> "list[Query]":
    """Return the queries of a command line, of which the one takes what is pointed at.

    Args:
        queries: The queries.
        image: The image, or a folder of images.
        points: Points, each ``[x, y]`` or ``[x, y, "negative"]``, or None.
        boxes: Boxes, each left, top, width and height, or None.
        mask: File of an earlier mask, or None.

    Raises:
        QueryError: If there are several queries or images, or a point or a box is no such thing.
        RecordError: If the mask cannot be read.
    """
    if not points and not boxes and mask is None:
        return queries
    from dataclasses import replace

    from lasagna.core.visual_prompt import VisualPrompt

    if len(queries) != 1 or len(queries[0].names) != 1 or image.is_dir():
        raise QueryError(
            "points: points, boxes and a mask are for one thing in one image; give one image file, and one query with "
            'one name, e.g. --refer "the dog"'
        )
    earlier = None if mask is None else read_mask(mask, queries[0].names[0])
    # lengths are checked by the class
    visual = VisualPrompt(
        [tuple(point) for point in points or ()],  # type: ignore[misc]
        [tuple(box) for box in boxes or ()],  # type: ignore[misc]
        earlier,
    )
    return [replace(queries[0], visual=visual)]


def read_mask(path: Path, name: str) -> "RLEMask | NDArray[np.bool_]":
    """Read the mask of an earlier answer.

    Args:
        path: A JSON file that ``lasagna predict`` wrote, or an image whose pixels are not 0 in the mask. ``FILE#1`` is
            the second of several masks of the name in a JSON file, such as those of its objects.
        name: The name whose mask is taken from a JSON file.

    Raises:
        RecordError: If the file cannot be read, or holds no mask of this name, or several of which none is chosen.
    """
    file, _, number = path.name.partition(".json#")
    if number.isdecimal():
        path = path.with_name(f"{file}.json")
    try:
        if path.suffix.lower() == ".json":
            which = int(number) if number.isdecimal() else None
            return _answered_mask(path, parse_json(path.read_text(encoding="utf-8")), name, which)
        import numpy as np
        from PIL import Image

        with Image.open(path) as picture:
            pixels: NDArray[np.bool_] = np.asarray(picture.convert("L")) != 0
            return pixels
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(
            f"mask: {str(path)!r} cannot be read ({error}); give an image, or a JSON file of lasagna predict"
        ) from error


def _answered_mask(path: Path, content: Any, name: str, which: int | None) -> "RLEMask":  # noqa: ANN401
    from lasagna.core.masks import RLEMask

    entries = [entry for answer in content["answers"] for entry in answer["entries"] if entry["mask"] is not None]
    found = [one["mask"] for entry in entries if entry["name"] == name for one in entry.get("objects", [entry])]
    if not found:
        names = ", ".join(sorted({repr(entry["name"]) for entry in entries})) or "none"
        raise RecordError(f"mask: {str(path)!r} has no mask of {name!r}; it has masks of {names}")
    if len(found) > 1 if which is None else which >= len(found):
        places = f"{path}#0" if len(found) == 1 else f"{path}#0 to {path}#{len(found) - 1}"
        raise RecordError(f"mask: {str(path)!r} has {len(found)} masks of {name!r}; give {places}")
    height, width = found[which or 0]["size"]
    return RLEMask.from_json(found[which or 0], (height, width))
