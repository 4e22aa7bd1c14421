"""Remote folders of shards, read through a URL or a command and optionally cached, and how addresses name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from shutil import copyfileobj
from typing import BinaryIO, cast
from uuid import uuid4

from lasagna.core.foreign import COMMAND
from lasagna.datamodules.shards.command import PipeTransport, S3Transport
from lasagna.datamodules.shards.folder import LocalFolder, Shard, ShardFolder, size_error
from lasagna.datamodules.shards.http import HttpTransport
from lasagna.datamodules.shards.transport import RemoteOptions, RetryingStream, Transport, describe, retry
from lasagna.errors import ConfigError, ShardError, without_secrets

CONCURRENT_REQUESTS = 8
BLOCK = 1 << 18

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class RemoteFolder(ShardFolder):
    """A remote folder of shards; interrupted transfers are retried and resume where they stopped.

    Args:
        transport: How to reach its files.
        options: Number of retries, waits and timeout.
    """

    transport: Transport
    options: RemoteOptions

    remedy = "check the address and the connection, raise `remote.retries`, or copy the shards to a folder on disk"

    def __str__(self) -> str:
        """Return the address."""
        return str(self.transport)

    def location(self, file: str) -> str:
        """Return the address of a file."""
        return self.transport.location(file)

    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest.

        Args:
            file: Name of the manifest.

        Raises:
            ShardError: If it cannot be read.
        """

        def read() -> bytes:
            with self.transport.open(file, 0, self.options.timeout) as stream:
                return stream.read()

        try:
            return retry(read, self.location(file), self.options)
        except OSError as error:
            raise ShardError(
                f"{self.location(file)}: the manifest cannot be read ({describe(error)}); {self.remedy}"
            ) from error

    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading.

        Raises:
            OSError: While reading, if the shard cannot be read or differs from what was written.
        """
        if not _NAME.fullmatch(shard.file):
            raise OSError(f"its name {shard.file!r} has other characters than a-z, 0-9, _, - and .")
        return cast(BinaryIO, BufferedReader(RetryingStream(self.transport, shard, self.options), BLOCK))

    def size_errors(self, shards: Sequence[Shard]) -> list[str]:
        """Return an error for each shard that is missing or has another size, if the transport reports sizes."""
        with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
            return [error for error in pool.map(self._size_error, shards) if error]

    def _size_error(self, shard: Shard) -> str:
        location = self.location(shard.file)
        try:
            size = retry(lambda: self.transport.size(shard.file, self.options.timeout), location, self.options)
        except OSError as error:
            return f"{location}: the shard cannot be read ({describe(error)}); {self.remedy}"
        return "" if size is None else size_error(location, shard, size, self.remedy)


@dataclass(frozen=True)
class CachedFolder(ShardFolder):
    """A remote folder whose shards are kept on disk once they were read, named by their checksums.

    Args:
        folder: The remote folder.
        cache: The folder on disk.
    """

    folder: RemoteFolder
    cache: Path

    remedy = RemoteFolder.remedy

    @property
    def place(self) -> Path:
        """The cache."""
        return self.cache

    def __str__(self) -> str:
        """Return the address."""
        return str(self.folder)

    def location(self, file: str) -> str:
        """Return the address of a file."""
        return self.folder.location(file)

    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest, which is not cached.

        Args:
            file: Name of the manifest.

        Raises:
            ShardError: If it cannot be read.
        """
        return self.folder.manifest(file)

    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading; fetch it first if it is not cached yet.

        Raises:
            OSError: If the shard cannot be read or differs from what was written.
        """
        path = self._path(shard)
        if not self._is_cached(shard):
            # several workers may fetch the same shard at the same time
            part = path.with_name(f"{path.name}.{uuid4().hex}.part")
            self.cache.mkdir(parents=True, exist_ok=True)
            try:
                with self.folder.open(shard) as source, part.open("xb") as target:
                    copyfileobj(source, target, BLOCK)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path.open("rb")

    def size_errors(self, shards: Sequence[Shard]) -> list[str]:
        """Return an error for each uncached shard that is missing or has another size, if sizes are reported."""
        return self.folder.size_errors([shard for shard in shards if not self._is_cached(shard)])

    def _path(self, shard: Shard) -> Path:
        return self.cache / f"{shard.sha256}.tar"

    def _is_cached(self, shard: Shard) -> bool:
        path = self._path(shard)
        return path.is_file() and path.stat().st_size == shard.bytes


_TRANSPORTS: dict[str, Callable[[str], Transport]] = {
    "http://": HttpTransport,
    "https://": HttpTransport,
    "s3://": S3Transport,
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_folder(address: str, options: RemoteOptions | None = None) -> ShardFolder:
    """Return the folder of shards at an address, without reading anything.

    Args:
        address: A path, a URL (``http://``, ``https://``, ``s3://``) or ``pipe:`` with a command.
        options: Retries, timeout and cache of a remote folder; None for the defaults.

    Raises:
        ConfigError: If the address has an unknown scheme, or a pipe has no command.
    """
    transport = _transport(address)
    if transport is None:
        return LocalFolder(Path(address).expanduser())
    options = options or RemoteOptions()
    folder = RemoteFolder(transport, options)
    return folder if options.cache is None else CachedFolder(folder, Path(options.cache).expanduser())


def is_remote(address: str) -> bool:
    """Return whether an address is remote, rather than a path.

    Raises:
        ConfigError: If the address has an unknown scheme, or a pipe has no command.
    """
    return _transport(address) is not None


def _transport(address: str) -> Transport | None:
    if address.startswith(COMMAND):
        command = address.removeprefix(COMMAND).strip()
        if not command:
            raise ConfigError(f"shards: {address!r} has no command; give one, such as 'pipe:cat FOLDER/{{file}}'")
        return PipeTransport(command)
    scheme = _SCHEME.match(address)
    if scheme is None:
        return None
    if scheme[0].lower() not in _TRANSPORTS:
        shown = without_secrets(address)
        raise ConfigError(
            f"shards: unknown scheme {scheme[0]!r} in {shown!r}; give a folder, an address that starts with "
            f"{', '.join(_TRANSPORTS)}, or 'pipe:COMMAND' with a command that writes {{file}} to its standard output"
        )
    return _TRANSPORTS[scheme[0].lower()](address)
