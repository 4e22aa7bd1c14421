"""Folders of shards that are elsewhere: behind an address or a command, and perhaps kept in a cache."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from shutil import copyfileobj
from typing import Any, BinaryIO, cast
from uuid import uuid4

from lasagna.datamodules.shards.folder import LocalFolder, Shard, ShardFolder, size_fault
from lasagna.datamodules.shards.transport import (
    HttpTransport,
    PipeTransport,
    RemoteOptions,
    RetryingStream,
    S3Transport,
    Transport,
    cause,
    persistently,
)
from lasagna.errors import ConfigError, ShardError

ASKED_AT_ONCE = 8
BLOCK = 1 << 18

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class RemoteFolder(ShardFolder):
    """A folder of shards that is elsewhere; what breaks off is tried again and goes on where it stopped.

    Args:
        transport: How its files can be had.
        options: How patiently.
    """

    transport: Transport
    options: RemoteOptions

    way_out = "check the address and the connection, raise `remote.retries`, or copy the shards to a folder on disk"

    def __str__(self) -> str:
        """Return the address."""
        return str(self.transport)

    def place(self, file: str) -> str:
        """Return the address of a file."""
        return self.transport.place(file)

    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest.

        Raises:
            ShardError: If it cannot be had.
        """

        def read() -> bytes:
            with self.transport.open(file, 0, self.options.timeout) as stream:
                return stream.read()

        try:
            return persistently(read, self.place(file), self.options)
        except OSError as error:
            raise ShardError(
                f"{self.place(file)}: the manifest cannot be read ({cause(error)}); {self.way_out}"
            ) from error

    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading.

        Raises:
            OSError: When reading, if the shard cannot be had or is not what was written.
        """
        if not _NAME.fullmatch(shard.file):
            raise OSError(f"its name {shard.file!r} has other letters than a-z, 0-9, _, - and .")
        return cast(BinaryIO, BufferedReader(RetryingStream(self.transport, shard, self.options), BLOCK))

    def size_faults(self, shards: Sequence[Shard]) -> list[str]:
        """Say which shards are missing or of another size, where sizes can be asked for; several at once."""
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            return [fault for fault in pool.map(self._size_fault, shards) if fault]

    def _size_fault(self, shard: Shard) -> str:
        place = self.place(shard.file)
        try:
            size = persistently(lambda: self.transport.size(shard.file, self.options.timeout), place, self.options)
        except OSError as error:
            return f"{place}: the shard cannot be read ({cause(error)}); {self.way_out}"
        return "" if size is None else size_fault(place, shard, size, self.way_out)


@dataclass(frozen=True)
class CachedFolder(ShardFolder):
    """A folder of shards of which a folder on disk keeps those that were asked for, by their checksums.

    Args:
        folder: The folder of shards.
        cache: The folder on disk.
    """

    folder: RemoteFolder
    cache: Path

    way_out = RemoteFolder.way_out

    def __str__(self) -> str:
        """Return the address."""
        return str(self.folder)

    def place(self, file: str) -> str:
        """Return the address of a file."""
        return self.folder.place(file)

    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest, which is not kept.

        Raises:
            ShardError: If it cannot be had.
        """
        return self.folder.manifest(file)

    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading, after fetching it if it is not there yet.

        Raises:
            OSError: If the shard cannot be had or is not what was written.
        """
        path = self._path(shard)
        if not self._has(shard):
            # several workers may fetch the same shard
            part = path.with_name(f"{path.name}.{uuid4().hex}.part")
            self.cache.mkdir(parents=True, exist_ok=True)
            try:
                with self.folder.open(shard) as source, part.open("xb") as target:
                    copyfileobj(source, target, BLOCK)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path.open("rb")

    def size_faults(self, shards: Sequence[Shard]) -> list[str]:
        """Say which shards that are not kept are missing or of another size, where sizes can be asked for."""
        return self.folder.size_faults([shard for shard in shards if not self._has(shard)])

    def _path(self, shard: Shard) -> Path:
        return self.cache / f"{shard.sha256}.tar"

    def _has(self, shard: Shard) -> bool:
        path = self._path(shard)
        return path.is_file() and path.stat().st_size == shard.bytes


PIPE = "pipe:"

_TRANSPORTS: dict[str, Callable[[str], Transport]] = {
    "http://": HttpTransport,
    "https://": HttpTransport,
    "s3://": S3Transport,
}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def open_folder(address: str, options: RemoteOptions | None = None) -> ShardFolder:
    """Return the folder of shards behind an address; nothing is read yet.

    Args:
        address: A path, a URL (``http://``, ``https://``, ``s3://``) or ``pipe:`` with a command.
        options: How patiently remote ones are read; None for the defaults.

    Raises:
        ConfigError: If nothing is known about such addresses.
    """
    transport = _transport(address)
    if transport is None:
        return LocalFolder(Path(address).expanduser())
    options = options or RemoteOptions()
    folder = RemoteFolder(transport, options)
    return folder if options.cache is None else CachedFolder(folder, Path(options.cache).expanduser())


def is_remote(address: str) -> bool:
    """Say whether an address is no path.

    Raises:
        ConfigError: If nothing is known about such addresses.
    """
    return _transport(address) is not None


def refuse_commands(config: Any, origin: str, option: str) -> None:  # noqa: ANN401
    """Refuse data that would run a command of the shell which the user has not named, such as that of a checkpoint.

    Args:
        config: Plain data: the part ``data`` of a config.
        origin: Where it comes from, for the message.
        option: How the user names the data instead.

    Raises:
        ConfigError: If there is such an address.
    """
    if command := next(_commands(config), None):
        raise ConfigError(
            f"data: {origin} names shards that are read by the command {command!r}, which is not run unless you name "
            f"it yourself; give {option} with a config that does"
        )


def _commands(config: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(config, str) and config.startswith(PIPE):
        yield config
    elif isinstance(config, Mapping):
        yield from (found for part in config.values() for found in _commands(part))
    elif isinstance(config, list | tuple):
        yield from (found for part in config for found in _commands(part))


def _transport(address: str) -> Transport | None:
    if address.startswith(PIPE):
        command = address.removeprefix(PIPE).strip()
        if not command:
            raise ConfigError(f"shards: {address!r} has no command; give one, such as 'pipe:cat FOLDER/{{file}}'")
        return PipeTransport(command)
    scheme = _SCHEME.match(address)
    if scheme is None:
        return None
    if scheme[0].lower() not in _TRANSPORTS:
        raise ConfigError(
            f"shards: nothing is known about {scheme[0]!r} of {address!r}; give a folder, an address that begins with "
            f"{', '.join(_TRANSPORTS)}, or 'pipe:COMMAND' with a command that writes {{file}} to its output"
        )
    return _TRANSPORTS[scheme[0].lower()](address)
