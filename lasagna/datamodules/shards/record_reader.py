"""Reading the JSON of a record: each field is checked, and named if it is wrong (see ``codec`` for the fields)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lasagna.core.image_places import LAST, place_of
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Manifest, Phrase, Question, Record, Region, Turn
from lasagna.errors import RecordError

T = TypeVar("T")

_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}


class RecordReader:
    """Reads the fields of one record; its errors name record and field.

    Args:
        key: Key of the sample.
        fields: Its annotations, as JSON.
        manifest: Description of the data set.

    Raises:
        RecordError: If the key or the size is invalid.
    """

    def __init__(self, key: str, fields: Any, manifest: Manifest) -> None:  # noqa: ANN401
        self.key, self.manifest = key, manifest
        self.fields = self._as(dict, fields, "the annotations")
        self.key = self._words(self.fields.get("key", key), "key")
        self.size = self._size(self.fields.get("size"))

    def record(self, image: bytes, files: Mapping[str, Any]) -> Record:
        """Return the record.

        Args:
            image: The image file.
            files: All files of the sample by extension.

        Raises:
            RecordError: If a file is missing or a field is invalid.
        """
        others = self._each("others", self._words)
        if missing := [name for name in others if name not in files]:
            raise RecordError(f"record {self.key}: {self.key}.{missing[0]} is missing; write the shard again")
        masks_on = self._as(int, self.fields.get("masks_on", LAST), "masks_on")
        place_of(masks_on, len(others) + 1, f"record {self.key}")
        return Record(
            key=self.key,
            image_bytes=image,
            size=self.size,
            manifest=self.manifest,
            regions=self._each("regions", self._region),
            phrases=self._each("phrases", self._phrase),
            questions=self._each("questions", self._question),
            # shards of format 1 say "talk"
            conversation=self._each("talk" if "talk" in self.fields else "conversation", self._turn),
            captions=self._each("captions", self._caption),
            absent=self._each("absent", self._words),
            unclear=self._each("unclear", self._words),
            ignore=None if self.fields.get("ignore") is None else self._mask(self.fields["ignore"], "ignore"),
            label_bytes=files.get("labels.png"),
            others=tuple(files[name] for name in others),
            masks_on=masks_on,
        )

    def _size(self, value: Any) -> tuple[int, int]:  # noqa: ANN401
        if not (isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)):
            raise self._error("size", "[height, width] in pixels", value)
        return value[0], value[1]

    def _region(self, value: Any, field: str) -> Region:  # noqa: ANN401
        name = self._words(self._text(value, "name", field), f"{field}.name")
        if self.manifest.categories and name not in self.manifest.categories:
            raise RecordError(
                f"record {self.key}: {field}.name: {name!r} is not a category of {self.manifest.name!r}; "
                "list it in the manifest or convert the data set again"
            )
        if "masks" not in value:
            return Region(name, self._mask(value.get("mask"), f"{field}.mask"))
        masks = self._masks(value["masks"], f"{field}.masks")
        crowds = self._masks(value.get("crowds", []), f"{field}.crowds")
        if not masks and not crowds:
            raise self._error(f"{field}.masks", "a mask per object, or crowds", [])
        return Region.of_objects(name, masks, crowds)

    def _phrase(self, value: Any, field: str) -> Phrase:  # noqa: ANN401
        text = self._words(self._text(value, "text", field), f"{field}.text")
        kind = self._as(str, value.get("kind", ""), f"{field}.kind")
        masks = self._masks(value.get("masks", []), f"{field}.masks")
        group = self._as(str, value.get("group", ""), f"{field}.group")
        others = self._as(list, value.get("annotators", []), f"{field}.annotators")
        drawn = (self._masks(part, f"{field}.annotators[{rank}]") for rank, part in enumerate(others))
        return Phrase(text, masks, kind, group, tuple(drawn))

    def _question(self, value: Any, field: str) -> Question:  # noqa: ANN401
        text = self._words(self._text(value, "text", field), f"{field}.text")
        answer = self._as(str, value.get("answer", ""), f"{field}.answer")
        encoded = value.get("masks")
        masks = None if encoded is None else self._masks(encoded, f"{field}.masks")
        kind, group = (self._as(str, value.get(part, ""), f"{field}.{part}") for part in ("kind", "group"))
        return Question(text, answer, masks, kind, group)

    def _turn(self, value: Any, field: str) -> Turn:  # noqa: ANN401
        return Turn(self._text(value, "question", field), self._text(value, "answer", field))

    def _caption(self, value: Any, field: str) -> Caption:  # noqa: ANN401
        text = self._words(self._text(value, "text", field), f"{field}.text")
        phrases = self._as(list, value.get("phrases", []), f"{field}.phrases")
        read = [self._caption_phrase(part, f"{field}.phrases[{rank}]") for rank, part in enumerate(phrases)]
        try:
            return Caption(text, tuple(read))
        except RecordError as error:
            raise RecordError(f"record {self.key}: {field}: {str(error).removeprefix('caption: ')}") from error

    def _caption_phrase(self, value: Any, field: str) -> CaptionPhrase:  # noqa: ANN401
        span = self._as(dict, value, field).get("span")
        if not (isinstance(span, list) and len(span) == 2 and all(type(place) is int for place in span)):
            raise self._error(f"{field}.span", "[begin, end] in the text", span)
        return CaptionPhrase((span[0], span[1]), self._masks(value.get("masks", []), f"{field}.masks"))

    def _text(self, value: Any, name: str, field: str) -> str:  # noqa: ANN401
        return self._as(str, self._as(dict, value, field).get(name), f"{field}.{name}")

    def _words(self, value: Any, field: str) -> str:  # noqa: ANN401
        if not self._as(str, value, field).strip():
            raise self._error(field, "a text that is not empty", value)
        return str(value)

    def _masks(self, value: Any, field: str) -> tuple[Mask, ...]:  # noqa: ANN401
        encoded = self._as(list, value, field)
        return tuple(self._mask(mask, f"{field}[{rank}]") for rank, mask in enumerate(encoded))

    def _mask(self, value: Any, field: str) -> Mask:  # noqa: ANN401
        try:
            return RLEMask.from_json(value, self.size)
        except Exception as error:  # pycocotools raises bare exceptions for invalid masks
            raise RecordError(f"record {self.key}: {field}: {str(error).removeprefix('mask: ')}") from error

    def _each(self, field: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
        values = self._as(list, self.fields.get(field, []), field)
        return tuple(read(value, f"{field}[{rank}]") for rank, value in enumerate(values))

    def _as(self, kind: type[T], value: Any, field: str) -> T:  # noqa: ANN401
        if not isinstance(value, kind):
            raise self._error(field, _KINDS[kind], value)
        return value

    def _error(self, field: str, expected: str, value: Any) -> RecordError:  # noqa: ANN401
        return RecordError(f"record {self.key}: {field}: expected {expected}, got {str(value)[:80]!r}")
