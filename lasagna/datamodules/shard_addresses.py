"""From the address of a folder of shards to the folder: a path, a URL or a command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lasagna.datamodules.remote import RemoteOptions, Transport
from lasagna.datamodules.remote_command import PipeTransport, S3Transport
from lasagna.datamodules.remote_folder import CachedFolder, RemoteFolder
from lasagna.datamodules.remote_http import HttpTransport
from lasagna.datamodules.shard_folder import LocalFolder, ShardFolder
from lasagna.errors import ConfigError

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
