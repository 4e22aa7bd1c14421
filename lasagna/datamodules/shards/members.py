"""Samples of WebDataset shards that others have written: which of their files and fields are which part of a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, unquote

from PIL import Image

from lasagna.core.coordinates import are_fractions
from lasagna.core.image_files import BROKEN_IMAGE, image_fault
from lasagna.core.json_text import parse_json
from lasagna.core.masks import RLEMask
from lasagna.datamodules.shards.fields import Fields
from lasagna.errors import RecordError

MEMBERS = "__members__"
"""Key of a sample under which its ``Members`` are, so that it becomes a record when it is decoded."""

JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True)
class Members:
    """Which files of a sample, and which fields of a file of JSON, are which part of a record.

    Fields follow a colon: "json:objects.mask" is the field "mask" of each of the "objects" in the file "json".

    Args:
        image: Extension of the image, e.g. "jpg".
        labels: Extension of the label map, a PNG of values, or empty.
        masks: The masks, one for each name or text: RLE, or lists of polygons; or empty.
        names: The class of each mask, or empty.
        texts: The phrase that means each mask, or empty.
        categories: The category of each class, by its name or number as a text.
        by_shard: Whether keys are unique only within a shard, so that its name belongs to the record's key.
    """

    image: str
    labels: str = ""
    masks: str = ""
    names: str = ""
    texts: str = ""
    categories: Mapping[str, str] = field(default_factory=dict)
    by_shard: bool = False

    @classmethod
    def from_json(cls, data: Fields) -> Members:
        """Return what ``dataclasses.asdict`` turned into plain data.

        Raises:
            ValueError: If a field is missing or is not what it must be.
        """
        texts = {name: data.get(name, str) for name in ("image", "labels", "masks", "names", "texts")}
        return cls(**texts, categories=data.inner("categories").text_of(), by_shard=data.get("by_shard", bool))

    def marked(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return a sample, as it was read, with the key of its record, and with these members to decode it by."""
        key = str(sample["__key__"])
        key = f"{PurePath(str(sample['__url__'])).stem}/{key}" if self.by_shard else key
        # as in `codec.sample_key`
        return {**sample, "__key__": quote(key, safe="").replace(".", "%2E"), MEMBERS: self}

    def sample(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Return a sample in the form that this package writes.

        Raises:
            RecordError: If a file is missing or broken, a class has no category, or there are not as many masks as
                names or texts.
        """
        key = unquote(str(sample["__key__"]))
        where = f"record {key}"
        image = _file(sample, self.image, where)
        try:
            with Image.open(BytesIO(image)) as header:
                size = (header.height, header.width)
        except BROKEN_IMAGE as error:
            raise RecordError(f"{where}: the image cannot be decoded ({image_fault(error)})") from error
        fields = {"key": key, "size": list(size), **self._annotations(sample, size, where)}
        # the codec takes the first extension of an image that it finds, and tells the format by the content
        found = {"__key__": sample["__key__"], "__url__": sample["__url__"], "jpg": image, "json": json.dumps(fields)}
        if self.labels:
            found["labels.png"] = _file(sample, self.labels, where)
            if found["labels.png"].startswith(JPEG):
                raise RecordError(f"{where}: {self.labels}: label maps stored as JPEG have wrong values; store PNG")
        return found

    def _annotations(self, sample: Mapping[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
        """Return the categories, the phrases, and the categories of which a mask is missing."""
        names, texts, masks = (self.value(sample, place, where) for place in (self.names, self.texts, self.masks))
        codes = masks if isinstance(names if self.names else texts, list) else [masks]
        said = {"names": _listed(names), "texts": _listed(texts)}
        for what, words in said.items():
            if words and (not isinstance(codes, list) or len(words) != len(codes)):
                raise RecordError(f"{where}: {what}: {len(words)} of them, and not as many masks; give one for each")
        coded = [_code(code, size, f"{where}: masks[{rank}]") for rank, code in enumerate(codes or ())]
        regions: dict[str, list[Any]] = {}
        unclear: dict[str, None] = {}
        for name, code in zip(said["names"], coded, strict=False):
            if str(name) not in self.categories:
                raise RecordError(f"{where}: the class {name!r} is none of {', '.join(self.categories)}")
            if code is None:
                unclear[self.categories[str(name)]] = None
            else:
                regions.setdefault(self.categories[str(name)], []).append(code)
        pairs = [(text, code) for text, code in zip(said["texts"], coded, strict=False) if code is not None]
        return {
            "regions": [{"name": name, "masks": parts} for name, parts in regions.items()],
            "phrases": [{"text": str(text), "masks": [code]} for text, code in pairs if str(text).strip()],
            "unclear": list(unclear),
        }

    def value(self, sample: Mapping[str, Any], place: str, where: str) -> Any:  # noqa: ANN401
        """Return what a file of a sample holds, or a field of it if it is JSON.

        Args:
            sample: The sample.
            place: Extension of the file, with fields behind a colon; empty for nothing.
            where: Which sample it is, for messages.

        Raises:
            RecordError: If there is no such file or field, or the file is not JSON or text.
        """
        if not place:
            return None
        extension, _, fields = place.partition(":")
        try:
            text = _file(sample, extension, where).decode("utf-8-sig")
            found: Any = parse_json(text) if extension.endswith("json") else text.strip()
            for name in fields.split(".") if fields else ():
                found = [part[name] for part in found] if isinstance(found, list) else found[name]
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{where}: {place}: there is no such field in it ({error!r})") from error
        return found


def _file(sample: Mapping[str, Any], extension: str, where: str) -> bytes:
    if extension not in sample:
        there = ", ".join(name for name in sample if not name.startswith("__"))
        raise RecordError(f"{where}: there is no file with the extension {extension!r}; there are {there}")
    return bytes(sample[extension])


def _listed(value: Any) -> Sequence[Any]:  # noqa: ANN401
    return value if isinstance(value, list) else [] if value is None else [value]


def _code(code: Any, size: tuple[int, int], where: str) -> Any:  # noqa: ANN401
    """Return the compressed RLE of a mask, or None if it has no pixel."""
    if not code:
        return None
    # one polygon alone is a list of numbers
    code = [code] if isinstance(code, list) and all(isinstance(part, (int, float)) for part in code) else code
    numbers = [number for part in code if isinstance(part, list) for number in part] if isinstance(code, list) else []
    if numbers and are_fractions(numbers, size):
        raise RecordError(f"{where}: its points are fractions of the image; convert the set to pixels")
    try:
        mask = RLEMask.from_json(code, size)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    return mask.to_json() if mask.any() else None
