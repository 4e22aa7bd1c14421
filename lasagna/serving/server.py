"""The app of an assistant and the server that it runs in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI
    from uvicorn import Config

    from lasagna.core.images import Window
    from lasagna.modules.assistant import Assistant
    from lasagna.serving.label_studio import LabelStudio
    from lasagna.serving.limits import Limits


@dataclass(frozen=True)
class ServerRecipe:
    """What a process needs to serve an assistant, as plain data that can be given to other processes.

    Args:
        limits: What clients may ask at most.
        ckpt: A checkpoint, as of ``lasagna.load``; None for the small assistant of the package.
        host: Address that the server listens on.
        token: The token that requests must have, or None.
        device: Device to compute on, as of ``find_device``.
        calibrated_for: Data set whose calibrated threshold is used; None for that of all data sets.
        frozen_check: Whether to require the frozen weights that the checkpoint was trained with.
        window: Values of images of more than 8 bits that become black and white; None for those of all 16 bits.
        studio: The Label Studio that calls the server, or None.
        workers: Number of processes that serve.
        urls: Whether images are read from public addresses that clients name.
        threshold: Score from which a name is called present, where a request gives none; None for the calibrated one.
        thresholds: Those of single names, where a request gives none.
    """

    limits: Limits
    ckpt: Path | None = None
    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    device: str = "auto"
    calibrated_for: str | None = None
    frozen_check: bool = True
    window: Window | None = None
    studio: LabelStudio | None = None
    workers: int = 1
    urls: bool = False
    threshold: float | None = None
    thresholds: Mapping[str, float] | None = None

    def app(self, worker: str | None = None) -> FastAPI:
        """Load the assistant and return its app.

        Args:
            worker: What tells this process from others that serve on the same port; None if there are none.

        Raises:
            CheckpointError: If the checkpoint cannot be used.
            LasagnaError: If the device cannot be used.
        """
        from lasagna.core.device import find_device
        from lasagna.modules.checkpoints.load import load

        target = find_device(self.device)
        assistant = load(self.ckpt, calibrated=self.calibrated_for, frozen_check=self.frozen_check).to(target)
        if self.threshold is not None:
            assistant.presence_threshold = self.threshold
        name = "scenes" if self.ckpt is None else self.ckpt.stem
        return make_app(
            assistant,
            name,
            self.host,
            self.token,
            self.limits,
            self.window,
            self.studio,
            worker,
            self.urls,
            self.thresholds,
        )


def make_app(
    assistant: Assistant,
    name: str,
    host: str,
    token: str | None,
    limits: Limits,
    window: Window | None = None,
    studio: LabelStudio | None = None,
    worker: str | None = None,
    urls: bool = False,
    thresholds: Mapping[str, float] | None = None,
) -> FastAPI:
    """Return the app of an assistant.

    Args:
        assistant: The assistant, on its device.
        name: Its name.
        host: Address that the server listens on.
        token: The token that requests must have, or None.
        limits: What clients may ask at most.
        window: Values of images of more than 8 bits that become black and white; None for those of all 16 bits.
        studio: The Label Studio that calls the server, or None.
        worker: What tells this process from others that serve on the same port; None if there are none.
        urls: Whether images are read from public addresses that clients name.
        thresholds: Thresholds of single names, where a request gives none.
    """
    from lasagna.serving.addresses import AddressReader
    from lasagna.serving.app import create_app
    from lasagna.serving.engine import Engine
    from lasagna.serving.guard import LOOPBACK, is_loopback
    from lasagna.serving.metrics import Metrics
    from lasagna.serving.service import Service

    metrics = Metrics(worker)
    addresses = AddressReader(limits) if urls else None
    service = Service(Engine(assistant, limits, metrics), limits, metrics, name, window, worker, addresses, thresholds)
    names = tuple(dict.fromkeys((*LOOPBACK, host)))
    return create_app(service, token, names if is_loopback(host) else None, studio)


def server_config(app: FastAPI | Callable[[], FastAPI], limits: Limits, **more: Any) -> Config:  # noqa: ANN401
    """Return how an app is served.

    Args:
        app: The app, or with ``factory=True`` what makes it.
        limits: What clients may ask at most.
        more: Further settings of ``uvicorn.Config``.
    """
    import uvicorn

    # it writes a line for each form that is broken
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    return uvicorn.Config(
        app,
        log_level="warning",
        ws="none",
        proxy_headers=False,
        server_header=False,
        # connections that send nothing take no place of a request
        limit_concurrency=8 * limits.requests,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=10,
        **more,
    )
