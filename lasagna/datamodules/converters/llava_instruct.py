"""LLaVA-Instruct: conversations about photographs of COCO, written by a language model from captions and boxes.

Source: Liu et al., Visual Instruction Tuning (arXiv 2304.08485); ``haotian-liu/LLaVA``, ``docs/Data.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

from lasagna.core.record import Manifest, Record, Turn
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.entries import check_inner, read_json
from lasagna.datamodules.converters.common.files import LayoutError, read_image_file
from lasagna.datamodules.shards.tally import ReadResult, Skipped

MANIFEST = Manifest(
    name="llava_instruct",
    unannotated="unknown",
    origin="LLaVA-Instruct (Liu et al., Visual Instruction Tuning, arXiv 2304.08485); photographs of COCO train2017",
    licence="conversations CC BY-NC 4.0 and under OpenAI's terms of use; photographs under Flickr's terms",
)
FILE = "llava_instruct_150k.json"
COCO_FOLDER = "train2017"
PLACEHOLDER = "<image>"
"""Marks the place of the image before or after the first question; not part of the question."""


@dataclass(frozen=True)
class Conversation:
    """A conversation about an image.

    Args:
        key: Name of the record, or of the conversation if it becomes no record.
        image: The image, or None if the conversation has no image.
        turns: Its turns.
        left_out: What was left out of it.
    """

    key: str
    image: Path | None
    turns: tuple[Turn, ...]
    left_out: tuple[Skipped, ...]


class LlavaInstruct(Converter):
    """LLaVA-Instruct-150k, or another file of its form such as the mix of LLaVA 1.5; all of it is "train".

    Each conversation is a record; further conversations about the same image have numbered keys ("...~2").
    Conversations without an image are left out.

    Args:
        source: The annotation file, or the folder with "llava_instruct_150k.json".
        images: COCO's folder "train2017", its parent folder, or the folder that the file's image names are relative to
            ("coco/train2017/...").
    """

    def __init__(self, source: Path, images: Path) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the one split.

        Raises:
            LayoutError: If the file or the folder of images is missing, or the file has another form.
        """
        path = self.source / FILE if self.source.is_dir() else self.source
        entries = read_json(path)
        if not self.images.is_dir():
            raise LayoutError(f"images: there is no folder {self.images}; expected COCO's {COCO_FOLDER}")
        try:
            conversations = self._conversations(entries)
        except (KeyError, TypeError, AttributeError) as error:
            raise LayoutError(f"{path}: not a file of conversations in LLaVA's form ({error!r})") from error
        files = [conversation.image for conversation in conversations if conversation.image is not None]
        return {"train": Split(MANIFEST, conversations, read_conversation, files, annotations=(path,))}

    def _conversations(self, entries: Sequence[Mapping[str, Any]]) -> list[Conversation]:
        seen: Counter[str] = Counter()
        folder, conversations = cache(partial(_folder, self.images)), []
        for entry in entries:
            name = entry.get("image")
            stem = PurePosixPath(name).stem if name else ""
            seen[stem] += 1
            where = f"conversation {entry['id']}"
            key = where if not name else stem if seen[stem] == 1 else f"{stem}~{seen[stem]}"
            turns, left_out = _turns(entry["conversations"], where)
            image = None
            if name:
                inner = PurePosixPath(check_inner(name, "image"))
                image = folder(inner.parent.as_posix()) / inner.name
            conversations.append(Conversation(key, image, turns, left_out))
        return conversations


def read_conversation(conversation: Conversation) -> ReadResult:
    """Read one conversation; the image's bytes stay as they are.

    Raises:
        RecordError: If the image is missing or broken.
    """
    if conversation.image is None:
        return ReadResult(None, (*conversation.left_out, Skipped("conversation without an image", conversation.key)))
    if not conversation.turns:
        return ReadResult(None, (*conversation.left_out, Skipped("conversation without a turn", conversation.key)))
    image_bytes, size = read_image_file(conversation.image)
    record = Record(conversation.key, image_bytes, size, MANIFEST, conversation=conversation.turns)
    return ReadResult(record, conversation.left_out)


def _turns(conversation: Sequence[Mapping[str, str]], where: str) -> tuple[tuple[Turn, ...], tuple[Skipped, ...]]:
    """Return the person's questions with the assistant's answers, and what was left out."""
    turns, left_out = [], []
    for place in range(0, len(conversation), 2):
        pair = conversation[place : place + 2]
        if [part["from"] for part in pair] != ["human", "gpt"]:
            left_out.append(Skipped("turns that are no question with its answer", where))
            break
        question, answer = (part["value"].replace(PLACEHOLDER, " ").strip() for part in pair)
        if question and answer:
            turns.append(Turn(question, answer))
        else:
            left_out.append(Skipped("empty question or answer", where))
    return tuple(turns), tuple(left_out)


def _folder(images: Path, inner: str) -> Path:
    """Return the folder of images: the one in the file, without leading parts that the user's folder stands for."""
    parts = PurePosixPath(inner).parts
    shorter = [images.joinpath(*parts[start:]) for start in range(len(parts) + 1)]
    places = [images / COCO_FOLDER, images] if not parts else shorter
    return next((place for place in places if place.is_dir()), images.joinpath(*parts))
