"""Names of images in exports of annotation tools: from Windows, quoted as in addresses, or on a server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path, PureWindowsPath
from typing import Any
from urllib.parse import unquote

from lasagna.datamodules.converters.common.entries import check_inner
from lasagna.datamodules.converters.common.files import LayoutError

INNER = ("images", "images/default", "data")
"""Folders within an export where tools put its images; the second is CVAT's, the third FiftyOne's."""


def exported_file(folder: Path, name: str, where: str, hint: str = ", or give `--images`") -> Path:
    """Return the file of an export that a name means: the longest ending of its path in one of the folders of images.

    Args:
        folder: The folder that names are relative to.
        name: E.g. "a.jpg", of Windows, "my%20cup.jpg" or "/data/upload/1/a.jpg".
        where: What names it, for the message.
        hint: A way out besides, for the message.

    Returns:
        The file; one that does not exist where no ending of the name does.

    Raises:
        LayoutError: If the name leads out of the folder, and no ending of it exists there.
    """
    plain = name.partition("?")[0] if "://" in name else name.rpartition("?d=")[2]
    places = [place for place in (folder, *(folder / inner for inner in INNER)) if place.is_dir()]
    for spelled in dict.fromkeys((name, plain, unquote(plain))):
        path = PureWindowsPath(spelled)
        parts = path.parts[bool(path.anchor) :]
        inner = parts[len(parts) - parts[::-1].index("..") :] if ".." in parts else parts
        for first, place in product(range(len(inner)), places):
            if (found := place.joinpath(*inner[first:])).is_file():
                return found
    try:
        return folder / check_inner(name, where)
    except LayoutError as error:
        raise LayoutError(f"{error}, or put {PureWindowsPath(name).name} into {folder}{hint}") from error


def grouping_categories(categories: Mapping[Any, Mapping[str, Any]], used: Collection[Any]) -> dict[Any, str]:
    """Return the ids and names of categories that only group others, as the root of Roboflow's exports does.

    Such a category has the supercategory "none" and no annotation, and others have its name as their supercategory.

    Args:
        categories: The categories of an annotation file in COCO's format, by id.
        used: Ids of the categories that its annotations name.
    """
    above = {str(one.get("supercategory")).casefold() for one in categories.values()}
    return {
        one["id"]: one["name"]
        for one in categories.values()
        if str(one.get("supercategory")).casefold() == "none" and one["id"] not in used
        if one["name"].casefold() in above
    }
