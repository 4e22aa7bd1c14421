"""Writing one shard: a tar that is whole or not there at all, its checksum made on the way."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from lasagna.datamodules.shard_folder import Shard
from lasagna.datamodules.shard_set import part_of
from lasagna.errors import ShardError


class ShardFile:
    """A shard that grows record by record, under another name until it is whole.

    Args:
        path: Where it goes.

    Raises:
        ShardError: If it cannot be written, e.g. since the disk is full; as all methods do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        self.bytes = 0
        self._digest = sha256()
        with self._told():
            self._file = part_of(path).open("wb")
            # all that writing a tar asks of a file is `write` and `tell`
            self._tar = tarfile.open(fileobj=cast(IO[bytes], self), mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115

    def write(self, data: bytes) -> int:
        """Take the next bytes of the tar."""
        self._digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Return how many bytes there are."""
        return self.bytes

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Add the files of a record, given by extension."""
        with self._told():
            _add(self._tar, key, files)
        self.records += 1

    def close(self) -> Shard:
        """Finish the shard and give it its name."""
        with self._told():
            self._tar.close()
            self._file.close()
            part_of(self.path).replace(self.path)
        return Shard(self.path.name, self.records, self.bytes, self._digest.hexdigest())

    def discard(self) -> None:
        """Remove what is not whole."""
        with suppress(OSError):
            self._file.close()
        part_of(self.path).unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise ShardError(
                f"{self.path}: the shard could not be written ({fault}); make room and run the same again"
            ) from fault


def _add(tar: tarfile.TarFile, key: str, files: Mapping[str, bytes]) -> None:
    for extension, data in files.items():
        # besides name and size only the defaults of TarInfo are stored (mode 644, time 0, no owner): same bytes always
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        tar.addfile(info, BytesIO(data))
