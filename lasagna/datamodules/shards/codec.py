"""Records as samples of WebDataset shards, and back.

A sample has the original image file (``jpg``, ``png``, ``bmp`` or ``webp``), ``labels.png`` if the record has a label
map, ``0.jpg``, ``1.png`` and so on for further images that are shown too, and ``json`` with these fields, all optional
except the first two:

- ``key``: the record's key, any text. In file names within the shard, everything but letters, digits, ``-``, ``_`` and
  ``~`` is percent-encoded, because a dot would end the key and a slash would create folders;
- ``size``: ``[height, width]`` of the image in pixels;
- ``regions``: ``[{"name": str, "mask": MASK}]``, or where objects are told apart ``[{"name": str, "masks": [MASK],
  "crowds": [MASK]}]``, a mask per object and per group of objects (since format 2 of the manifest);
- ``phrases``: ``[{"text": str, "masks": [MASK], "kind": str}]``, without masks if a phrase matches nothing;
- ``questions``: ``[{"text": str, "answer": str, "masks": [MASK] or null, "kind": str}]``;
- ``conversation``: ``[{"question": str, "answer": str}]``;
- ``captions``: ``[{"text": str, "phrases": [{"span": [int, int], "masks": [MASK]}]}]``, phrases by begin and end in the
  text, in order and without overlaps;
- ``absent``: ``[str]``, names verified to be absent;
- ``unclear``: ``[str]``, names annotated without a usable mask, or with an incomplete one;
- ``ignore``: MASK or null;
- ``others``: ``[str]``, extensions of the files of further images, in the order in which they are shown;
- ``masks_on``: position of the annotated image among all, from 0; by default the last.

A MASK is in one of COCO's encodings: ``{"size": [H, W], "counts": str or [int]}`` or a list of polygons. This package
writes compressed RLE. Masks are decoded only when their pixels are needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from lasagna.core.image_places import place_of
from lasagna.core.json_text import parse_json
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Caption, Manifest, Phrase, Question, Record, Region
from lasagna.datamodules.shards.members import MEMBERS
from lasagna.datamodules.shards.record_reader import RecordReader
from lasagna.errors import RecordError

IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "bmp", "webp")
_MAGIC = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"BM": "bmp", b"RIFF": "webp"}


def sample_key(key: str) -> str:
    """Return a record's key in a form that is safe in file names; distinct keys stay distinct."""
    return quote(key, safe="").replace(".", "%2E")


def record_key(sample: Mapping[str, Any]) -> str:
    """Return the key of the record in a sample; the inverse of ``sample_key``."""
    return unquote(str(sample["__key__"]))


def check_storable(record: Record) -> None:
    """Check that a record can be stored; cheap.

    Raises:
        RecordError: If the image has an unknown format, or the key, a name, a phrase or a question is empty.
    """
    if not record.key.strip():
        raise RecordError("record: its key is empty; every record needs a unique name")
    if empty := [field for field, text in _texts(record) if not text.strip()]:
        raise RecordError(f"record {record.key}: {empty[0]} is empty; leave it out or give it words")
    image_extension(record.image_bytes, f"record {record.key}")
    place_of(record.masks_on, len(record.others) + 1, f"record {record.key}")


def image_extension(data: bytes, where: str) -> str:
    """Return the extension of an encoded image.

    Args:
        data: The image file.
        where: The record or file it belongs to, for the message.

    Raises:
        RecordError: If shards cannot hold its format.
    """
    for magic, extension in _MAGIC.items():
        if data.startswith(magic):
            return extension
    raise RecordError(f"{where}: the image is none of {', '.join(IMAGE_EXTENSIONS)}; store it as one of these")


def encode_record(record: Record) -> dict[str, bytes]:
    """Return the files of a record by extension.

    Raises:
        RecordError: If it cannot be stored (see ``check_storable``).
    """
    check_storable(record)
    extension = image_extension(record.image_bytes, f"record {record.key}")
    files = {extension: record.image_bytes}
    if record.label_bytes is not None:
        files["labels.png"] = record.label_bytes
    others = {
        f"{rank}.{image_extension(data, f'record {record.key}, others[{rank}]')}": data
        for rank, data in enumerate(record.others)
    }
    fields = _annotations(record) | ({"others": list(others)} if others else {})
    if others and record.masks_on % (len(others) + 1) != len(others):
        fields["masks_on"] = record.masks_on % (len(others) + 1)
    files |= others
    files["json"] = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return files


def decode_record(sample: Mapping[str, Any], manifest: Manifest) -> Record:
    """Return the record in a sample.

    Args:
        sample: Its files by extension, and ``__key__``.
        manifest: Description of the data set.

    Raises:
        RecordError: If a file is missing or a field is invalid; names record and field.
    """
    sample = own_sample(sample)
    key = str(sample["__key__"])
    if "json" not in sample:
        raise RecordError(f"record {key}: {key}.json is missing; write the shard again")
    image = next((sample[extension] for extension in IMAGE_EXTENSIONS if extension in sample), None)
    if image is None:
        raise RecordError(f"record {key}: no image; expected {key} with one of the extensions {IMAGE_EXTENSIONS}")
    try:
        fields = parse_json(sample["json"])
    except ValueError as error:
        raise RecordError(f"record {key}: {key}.json is not JSON ({error})") from error
    return RecordReader(key, fields, manifest).record(image, sample)


def own_sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample in the form of this package; shards that others have written have another one.

    Raises:
        RecordError: If a file of a sample of others is missing or broken.
    """
    return sample[MEMBERS].sample(sample) if MEMBERS in sample else dict(sample)


def _texts(record: Record) -> Iterator[tuple[str, str]]:
    """Yield the field and the text of everything that a query can ask for."""
    yield from ((f"regions[{rank}].name", region.name) for rank, region in enumerate(record.regions))
    yield from ((f"phrases[{rank}].text", phrase.text) for rank, phrase in enumerate(record.phrases))
    yield from ((f"questions[{rank}].text", question.text) for rank, question in enumerate(record.questions))
    yield from ((f"captions[{rank}].text", caption.text) for rank, caption in enumerate(record.captions))
    yield from ((f"absent[{rank}]", name) for rank, name in enumerate(record.absent))
    yield from ((f"unclear[{rank}]", name) for rank, name in enumerate(record.unclear))


def _annotations(record: Record) -> dict[str, Any]:
    fields = {
        "regions": [_region(region) for region in record.regions],
        "phrases": [_phrase(phrase) for phrase in record.phrases],
        "questions": [_question(question) for question in record.questions],
        "conversation": [{"question": turn.question, "answer": turn.answer} for turn in record.conversation],
        "captions": [_caption(caption) for caption in record.captions],
        "absent": list(record.absent),
        "unclear": list(record.unclear),
        "ignore": None if record.ignore is None else _mask(record.ignore),
    }
    return {"key": record.key, "size": list(record.size)} | {name: value for name, value in fields.items() if value}


def _region(region: Region) -> dict[str, Any]:
    if region.masks is None:
        return {"name": region.name, "mask": _mask(region.mask)}
    crowds = {"crowds": [_mask(mask) for mask in region.crowds]} if region.crowds else {}
    return {"name": region.name, "masks": [_mask(mask) for mask in region.masks], **crowds}


def _phrase(phrase: Phrase) -> dict[str, Any]:
    group = {"group": phrase.group} if phrase.group else {}
    others = [[_mask(mask) for mask in masks] for masks in phrase.annotators]
    masks = [_mask(mask) for mask in phrase.masks]
    annotators = {"annotators": others} if others else {}
    return {"text": phrase.text, "masks": masks, "kind": phrase.kind, **group, **annotators}


def _question(question: Question) -> dict[str, Any]:
    masks = None if question.masks is None else [_mask(mask) for mask in question.masks]
    group = {"group": question.group} if question.group else {}
    return {"text": question.text, "answer": question.answer, "masks": masks, "kind": question.kind, **group}


def _caption(caption: Caption) -> dict[str, Any]:
    phrases = [
        {"span": list(phrase.span), "masks": [_mask(mask) for mask in phrase.masks]} for phrase in caption.phrases
    ]
    return {"text": caption.text, "phrases": phrases}


def _mask(mask: Mask) -> dict[str, Any]:
    return (mask if isinstance(mask, RLEMask) else RLEMask.from_array(mask.decode())).to_json()
