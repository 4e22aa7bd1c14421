"""The ``lasagna serve`` command: an assistant behind an HTTP server."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec
from pathlib import Path

from lasagna.core.thresholds import check_threshold, read_thresholds
from lasagna.errors import ConfigError, LasagnaError, check_counts
from lasagna.serving.limits import Limits
from lasagna.serving.server import ServerRecipe, server_config

TOKEN = "LASAGNA_TOKEN"
"""Variable of the environment that can hold the token; command lines are seen by other users of a machine."""

STUDIO_KEY = "LABEL_STUDIO_API_KEY"
"""Variable of the environment that holds the token for Label Studio, as its own packages call it."""

SHORTEST_TOKEN = 16
"""Fewest characters of a token."""

_PACKAGES = ("fastapi", "httpcore2", "uvicorn", "python_multipart", "prometheus_client")


def serve(
    ckpt: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    token: str | None = None,
    calibrated_for: str | None = None,
    window: tuple[float | str, float | str] | None = None,
    frozen_check: bool = True,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    label_studio: str | None = None,
    workers: int = 1,
    allow_urls: bool = False,
    threshold: float | None = None,
    thresholds: dict[str, float] | Path | None = None,
) -> None:
    """Answer queries about images over HTTP until Ctrl-C; needs the extra `serve`.

    Args:
        ckpt: A checkpoint of training, or a folder that `lasagna export` wrote. Without it, the small assistant of the
            package answers, which knows drawn scenes only.
        host: Address to listen on. By default only programs of this machine reach the server; any other address needs
            a token.
        port: Port to listen on; 0 for a free one.
        device: Device to compute on: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        token: What clients must send as `Authorization: Bearer TOKEN`, at least 16 characters; by default the value of
            the variable LASAGNA_TOKEN, if it is set.
        calibrated_for: Data set whose calibrated threshold is used; None for that of all data sets.
        window: Values of images of more than 8 bits that become black and white, e.g. "[0, 4095]", or percentages of
            the image's pixels, e.g. "[2%, 98%]"; by default those of all 16 bits.
        frozen_check: Whether to require the frozen weights that the checkpoint was trained with.
        limits: What clients may ask at most.
        label_studio: Address of a Label Studio that calls this server as its backend, e.g. "http://localhost:8080". Its
            images are read with the token in the variable LABEL_STUDIO_API_KEY, and those of no other address.
        workers: Number of processes that answer on the port, each with an assistant of its own in memory. With several
            there is no page, and images are kept by the process that encoded them.
        allow_urls: Whether clients may name images by their addresses, of http or https. Only public addresses are
            read, none of this machine or its network.
        threshold: Score in [0, 1] from which a name is called present, where a request gives none; by default the one
            that `lasagna calibrate` found for the checkpoint, or 0.5.
        thresholds: Names with a threshold of their own, e.g. "{dog: 0.7}", or a JSON file with them; they hold where a
            request asks for such a name and gives no threshold, and others are passed over.

    Raises:
        ConfigError: If the extra is not installed, the address needs a token, or there is no process.
        QueryError: If the thresholds of single names cannot be read, or one is no number in [0, 1].
        LasagnaError: If the address, the threshold, the window or the device cannot be used, or a process cannot start.
        CheckpointError: If the checkpoint cannot be used.
    """
    check_extra()
    check_counts(workers=workers)
    token = token or os.environ.get(TOKEN) or None
    check_access(host, token)
    check_threshold(threshold)
    own = read_thresholds(thresholds)
    from lasagna.core.device import find_device
    from lasagna.core.images import check_window

    studio = None
    if label_studio is not None:
        from lasagna.serving.label_studio import LabelStudio

        studio = LabelStudio(label_studio, os.environ.get(STUDIO_KEY))
    seen = None if window is None else check_window(window)
    find_device(device)
    recipe = ServerRecipe(
        limits,
        ckpt,
        host,
        token,
        device,
        calibrated_for,
        frozen_check,
        seen,
        studio,
        workers,
        allow_urls,
        threshold,
        own,
    )
    with listener(host, port) as listening:
        if ckpt is None:
            print(
                "The small assistant of the package answers; it knows drawn scenes only. Name another one with --ckpt."
            )
        _run(recipe, listening)


def _run(recipe: ServerRecipe, listening: socket.socket) -> None:
    """Serve until Ctrl-C, and say where."""
    host = f"[{recipe.host}]" if ":" in recipe.host else recipe.host
    address = f"http://{host}:{listening.getsockname()[1]}"
    if recipe.workers > 1:
        from lasagna.serving.workers import run_workers

        print(f"{address}/v1 answers when {recipe.workers} processes have loaded; Ctrl-C ends it", flush=True)
        run_workers(recipe, listening)
        return
    import uvicorn

    app = recipe.app()
    page = f"{address}/ shows a page; " if find_spec("gradio") else ""
    print(f"{address}/v1 answers; {page}Ctrl-C ends it", flush=True)
    uvicorn.Server(server_config(app, recipe.limits)).run(sockets=[listening])


def check_extra() -> None:
    """Check that the packages of the extra are installed.

    Raises:
        ConfigError: If one is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f'serve: {", ".join(missing)} not installed; pip install "lasagna[serve]"')


def check_access(host: str, token: str | None) -> None:
    """Check that nobody else reaches a server without a token.

    Raises:
        ConfigError: If an address needs a token and has none, or the token is short.
    """
    from lasagna.serving.guard import is_loopback

    way_out = "make one with `python -c 'import secrets; print(secrets.token_urlsafe())'`"
    if token is None and not is_loopback(host):
        raise ConfigError(f"token: other machines can reach {host!r}, so that it needs a --token or {TOKEN}; {way_out}")
    visible = token is not None and token.isascii() and token.isprintable() and " " not in token
    if token is not None and (len(token) < SHORTEST_TOKEN or not visible):
        raise ConfigError(f"token: expected at least {SHORTEST_TOKEN} visible characters of ASCII; {way_out}")


def listener(host: str, port: int) -> socket.socket:
    """Open the port of a server.

    Raises:
        ConfigError: If there is no such port.
        LasagnaError: If the address cannot be used.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"port: expected a number from 0 to 65535, got {port}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise LasagnaError(f"port: cannot listen on {host!r}, port {port} ({reason}); choose another --port") from error
    # connections inherit it; otherwise the body of each response waits 40 ms for the client to confirm the headers
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened
