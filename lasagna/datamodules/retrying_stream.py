"""A shard that is read from elsewhere without a gap, however often the connection breaks off."""

from __future__ import annotations

from hashlib import sha256
from io import RawIOBase
from typing import Any, BinaryIO

from lasagna.datamodules.remote import PASSING, Refused, RemoteOptions, Transport, wait_after
from lasagna.datamodules.shard_folder import Shard


class RetryingStream(RawIOBase):
    """The bytes of a shard in order, each once; compared with the shard's checksum before the last ones are given.

    Args:
        transport: How the shard can be had.
        shard: Which shard.
        options: How patiently.

    Raises:
        OSError: When reading, if the shard cannot be had or is not what was written.
    """

    def __init__(self, transport: Transport, shard: Shard, options: RemoteOptions) -> None:
        self._transport, self._shard, self._options = transport, shard, options
        self._place = transport.place(shard.file)
        self._stream: BinaryIO | None = None
        self._position, self._failed = 0, 0
        self._digest = sha256()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Read some bytes, opening the shard again where it broke off."""
        view = memoryview(buffer)[: self._shard.bytes - self._position]
        if not view:
            return 0
        while True:
            try:
                count = self._read(view)
            except PASSING as fault:
                self._drop()
                self._failed += 1
                wait_after(fault, self._failed, self._place, self._options)
            else:
                self._take(view[:count])
                return count

    def close(self) -> None:
        """End the connection."""
        self._drop()
        super().close()

    def _read(self, view: memoryview) -> int:
        if self._stream is None:
            self._stream = self._transport.open(self._shard.file, self._position, self._options.timeout)
        count: int = self._stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise ConnectionError(f"it broke off after {self._position} of {self._shard.bytes} bytes")
        return count

    def _take(self, content: memoryview) -> None:
        self._position, self._failed = self._position + len(content), 0
        self._digest.update(content)
        if self._position == self._shard.bytes and self._digest.hexdigest() != self._shard.sha256:
            raise Refused(
                f"expected sha256 {self._shard.sha256[:12]}..., found {self._digest.hexdigest()[:12]}...; "
                "it was changed after its manifest was written"
            )

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
