"""One shard while it is written: a tar file that has its final name only once it is complete."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import part_of
from lasagna.errors import ShardError


class ShardFile:
    """A shard that grows record by record, under a temporary name until it is complete.

    Args:
        path: Its final path.

    Raises:
        ShardError: If it cannot be written, e.g. because the disk is full; so do all methods.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        self.bytes = 0
        self._digest = sha256()
        with self._write_errors():
            self._file = part_of(path).open("wb")
            # to write a tar, `tarfile` needs only `write` and `tell`
            self._tar = tarfile.open(fileobj=cast(IO[bytes], self), mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115

    def write(self, data: bytes) -> int:
        """Write the next bytes of the tar."""
        self._digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self.bytes

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Add the files of a record.

        Args:
            key: Key of the record, as it stands in file names.
            files: Contents by extension.
        """
        with self._write_errors():
            for extension, data in files.items():
                # apart from name and size only the defaults of TarInfo are stored (mode 644, time 0, no owner), so that
                # the same records always give the same bytes
                info = tarfile.TarInfo(f"{key}.{extension}")
                info.size = len(data)
                self._tar.addfile(info, BytesIO(data))
        self.records += 1

    def close(self) -> Shard:
        """Complete the shard and give it its final name."""
        with self._write_errors():
            self._tar.close()
            self._file.close()
            part_of(self.path).replace(self.path)
        return Shard(self.path.name, self.records, self.bytes, self._digest.hexdigest())

    def discard(self) -> None:
        """Remove the incomplete file."""
        with suppress(OSError):
            self._file.close()
        part_of(self.path).unlink(missing_ok=True)

    @contextmanager
    def _write_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ShardError(
                f"{self.path}: the shard could not be written ({error}); make room and run the same command again"
            ) from error
