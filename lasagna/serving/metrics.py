"""What a server counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PLACES = ("route", "status")


class Metrics:
    """Counts of requests, batches and kept images of one process.

    Args:
        worker: Value of the label `worker` of each count, where several processes serve on one port; None for none.
    """

    def __init__(self, worker: str | None = None) -> None:
        self._worker = worker
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter("lasagna_requests", "Requests by route and status.", _PLACES, registry=registry)
        self.seconds = Histogram(
            "lasagna_request_seconds", "Seconds until the end of a response.", ("route",), registry=registry
        )
        self.batches = Histogram(
            "lasagna_batch_requests",
            "Requests that were answered together.",
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32),
        )
        self.waiting = Gauge("lasagna_waiting_requests", "Requests that wait for the assistant.", registry=registry)
        self.images = Gauge("lasagna_kept_images", "Encoded images that are kept.", registry=registry)

    def watch(self, waiting: Callable[[], int], images: Callable[[], int]) -> None:
        """Read the sizes of the queue and of the kept images whenever they are asked for."""
        self.waiting.set_function(waiting)
        self.images.set_function(images)

    def text(self) -> str:
        """Return all counts as text."""
        return generate_latest(self if self._worker else self._registry).decode("utf-8")

    def collect(self) -> Iterator[Metric]:
        """Yield all counts with the label of the process, as a registry of Prometheus does."""
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, "worker": self._worker or ""}) for sample in metric.samples
            ]
            yield metric


class Measured:
    """Counts the requests of an app and the time that they take.

    Args:
        app: The app.
        metrics: Where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request and count it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            # the pattern of the route, since paths as typed would make a series each
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.seconds.labels(route).observe(perf_counter() - start)
