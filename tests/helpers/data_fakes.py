"""A small assistant's processors, records and tasks for the tests of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lasagna.core.dialogue import Dialogue, DialogueMaker, Entry
from lasagna.core.geometry import Geometry
from lasagna.core.processors import Processors
from lasagna.core.prompt_formats import TINY
from lasagna.core.record import Manifest, Record
from lasagna.datamodules import write_shards

NAMES = ("sky", "grass", "oak", "house", "ball")
MANIFEST = Manifest("made up", NAMES, dict(enumerate(NAMES)), (255,))
END, PADDING = 1, 0


@dataclass(frozen=True)
class FakeImage:
    """Fits images into a square: resized by nearest neighbour to ``side`` by ``side - 4``, padded at the right."""

    side: int = 16

    def geometry(self, size):
        return Geometry(size, (self.side, self.side - 4), (self.side, self.side))

    def pixels(self, image):
        small = Image.fromarray(image).resize((self.side - 4, self.side), Image.Resampling.NEAREST)
        pixels = torch.zeros(3, self.side, self.side)
        pixels[:, :, : self.side - 4] = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255
        return pixels


@dataclass(frozen=True)
class FakeText:
    """One token a character, and one for each special token."""

    max_length: int = 500
    end_token_id: int = END
    padding_token_id: int = PADDING
    special: tuple[str, ...] = TINY.special_tokens

    def prompt_ids(self, text: str) -> list[int]:
        return [2, *self.answer_ids(text)]

    def further_ids(self, text: str) -> list[int]:
        return self.answer_ids(text)

    def answer_ids(self, text: str) -> list[int]:
        ids = []
        while text:
            token = next((token for token in self.special if text.startswith(token)), None)
            ids.append(10 + self.special.index(token) if token else 20 + ord(text[0]))
            text = text[len(token or text[0]) :]
        return ids

    def text(self, token_ids: Sequence[int]) -> str:
        kept = [token for token in token_ids if token not in (END, PADDING)]
        return "".join(self.special[token - 10] if token < 20 else chr(token - 20) for token in kept)


def processors(max_length: int = 500) -> Processors:
    return Processors(FakeImage(), FakeText(max_length), TINY)


class Listing(DialogueMaker):
    """Asks for all names."""

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        entries = [Entry(name, True, mask) for name, mask in record.category_masks().items()]
        return [Dialogue("categories", record.manifest.categories, tuple(entries), ignore=record.ignored())]


class EvenOnly(Listing):
    """Has nothing to say about every second record."""

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        return super().dialogues(record, rng) if int(record.key.rsplit("-", 1)[-1]) % 2 == 0 else []


class Silent(DialogueMaker):
    """Has nothing to say."""

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        return []


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def record(index: int, prefix: str = "r", manifest: Manifest = MANIFEST, size: tuple[int, int] = (9, 12)) -> Record:
    """A record with a random image and a label map of three of the names and some void."""
    rng = np.random.default_rng(index)
    labels = rng.choice(np.array([*rng.permutation(len(NAMES))[:3], 255], dtype=np.uint8), size)
    image = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
    return Record(f"{prefix}-{index}", png(image), size, manifest, label_bytes=png(labels))


def write(folder: Path, count: int, per_shard: int = 5, prefix: str = "r", name: str = "made up"):
    manifest = Manifest(name, NAMES, dict(enumerate(NAMES)), (255,))
    records = (record(index, prefix, manifest) for index in range(count))
    return write_shards(records, folder, manifest, records_per_shard=per_shard)


def keys(batches) -> list[list[str]]:
    """The keys of the images of each batch."""
    return [list(dict.fromkeys(sample.key for sample in batch.samples)) for batch in batches]
