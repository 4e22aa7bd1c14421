"""Photographs of COCO, which many data sets have under many names, by their number."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(?:^|[_/])(\d{12})(?:$|_|~)")


def coco_number(key: str) -> str | None:
    """Return the number of a photograph of COCO within a record's key; the same in the releases of 2014 and of 2017.

    Args:
        key: E.g. "000000000009", "COCO_train2014_000000000009" or "000000000009~2".

    Returns:
        Twelve digits, or None if the key is not that of such a photograph.
    """
    found = _NUMBER.search(key)
    return found[1] if found else None
