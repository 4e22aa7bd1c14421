"""A shuffle buffer that is bounded by bytes, begins after few records, and continues from a few numbers.

Records are shuffled in blocks: while one block is drawn, the next one is read, at a pace that fills it in time.
The first block is small and each one may have twice as many records as the one before, up to the bounds. A block ends
with its pass. A reservoir, whose records may stay for any time, would have to read a whole pass again to continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from lasagna.datamodules.shards.reader import RawSample
from lasagna.datamodules.streaming.passes import Passes


@dataclass(frozen=True)
class Bounds:
    """Bounds of the records of a source that wait in a stream, undecoded.

    Args:
        records: Largest number of records in a block.
        bytes: Bytes beyond which no more are read until some are drawn.
        first: Largest number of records in the first block, which delay the first batch.
    """

    records: int
    bytes: int
    first: int


class Place(NamedTuple):
    """Where the records of a source stand in a stream.

    Args:
        visit: Number of the pass in which the current block begins.
        offset: Number of the block's first record in the stream's part of the pass.
        limit: Number of records that the block may have.
        drawn: Number of records drawn from the block.
    """

    visit: int
    offset: int
    limit: int
    drawn: int


@dataclass
class _Block:
    """Records that follow each other, to be shuffled together; ``copies`` are what is drawn."""

    limit: int
    visit: int = 0
    offset: int = 0
    records: int = 0
    bytes: int = 0
    copies: list[RawSample] = field(default_factory=list)

    def add(self, visit: int, offset: int, copies: Iterable[RawSample]) -> None:
        if not self.records:
            self.visit, self.offset = visit, offset
        self.records += 1
        for raw in copies:
            self.copies.append(raw)
            self.bytes += byte_size(raw)


class ShuffledRecords(Iterator[tuple[int, RawSample]]):
    """The undecoded records of a source in one stream, shuffled, with the number of their pass.

    Args:
        passes: Reads the records in order.
        bounds: Bounds of the buffer.
        place: Where to continue; None for the beginning.
        repeat: Returns what is drawn for a record in a pass, perhaps nothing, or several copies; None for the record.
    """

    def __init__(
        self,
        passes: Passes,
        bounds: Bounds,
        place: Place | None = None,
        repeat: Callable[[int, RawSample], Iterable[RawSample]] | None = None,
    ) -> None:
        self.place = place or Place(0, 0, min(bounds.first, bounds.records), 0)
        self._passes, self._bounds = passes, bounds
        self._repeat = repeat or _once
        self._records = passes.read(self.place.visit, self.place.offset)
        self._left, self._left_bytes = list[RawSample](), 0
        self._ahead = _Block(self.place.limit)
        self._resumes = self.place.drawn

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the records that were read and not drawn."""
        return self._left_bytes + self._ahead.bytes

    def __next__(self) -> tuple[int, RawSample]:
        """Return the next record, and read some of the next block."""
        while not self._left:
            self._begin_block()
            for _ in range(self._resumes):
                self._draw()
            self._resumes = 0
        raw = self._draw()
        self.place = self.place._replace(drawn=self.place.drawn + 1)
        self._read_ahead()
        return self.place.visit, raw

    def _draw(self) -> RawSample:
        raw = self._left.pop()
        self._left_bytes -= byte_size(raw)
        return raw

    def _begin_block(self) -> None:
        """Read the rest of the next block, and shuffle it."""
        block = self._ahead
        while not self._is_full(block):
            self._read(block)
        order = self._passes.generator(f"block/{block.visit}/{block.offset}/{self._key}").permutation(len(block.copies))
        self._left, self._left_bytes = [block.copies[rank] for rank in order[::-1]], block.bytes
        self.place = Place(block.visit, block.offset, block.limit, self._resumes)
        self._ahead = _Block(min(2 * block.records, self._bounds.records))

    def _read_ahead(self) -> None:
        block = self._ahead
        # spread over the draws that are left
        count = -(-(self._size(block) - block.records) // (len(self._left) + 1))
        for _ in range(count):
            if self._is_full(block) or self.waiting_bytes >= self._bounds.bytes:
                return
            self._read(block)

    def _read(self, block: _Block) -> None:
        visit, offset, raw = next(self._records)
        block.add(visit, offset, self._repeat(visit, raw))

    def _is_full(self, block: _Block) -> bool:
        return block.records > 0 and (block.records >= self._size(block) or block.bytes >= self._bounds.bytes)

    def _size(self, block: _Block) -> int:
        """Return how many records a block has unless it has too many bytes."""
        if not block.records:
            return block.limit
        left = self._passes.count(block.visit) - block.offset
        # two blocks of about the same size rather than a small one at the end of the pass
        return left if left <= block.limit else min(block.limit, -(-left // 2))

    @property
    def _key(self) -> str:
        return f"{self._passes.split.part}/{self._passes.split.parts}"


def byte_size(raw: RawSample) -> int:
    """Return the bytes of a record's files."""
    return sum(len(content) for content in raw.values() if isinstance(content, bytes))


def _once(visit: int, raw: RawSample) -> tuple[RawSample]:
    return (raw,)
