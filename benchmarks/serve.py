"""Requests a second and latency of ``lasagna serve``, and the memory of its process.

``python benchmarks/serve.py`` starts servers of the package's small assistant, each in a process of its own, and asks
about ten names in pictures of 640 x 480 pixels, from as many threads as there are clients:

- 1, 4 and 16 clients, of a server that answers up to eight waiting requests together, and of one that answers one by
  one (``--limits.batch 1``); both run at the same time and are asked in turns, so that other work meets both;
- one picture that is kept and asked about ten times, against ten pictures that are sent;
- the memory of the process after 100 requests and after 2,000.

``--results`` files the numbers as ``docs/results/serve.json``. The clients take part of the machine's time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from predict import SEEN, write_images

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "serve.json"
CLIENTS = (1, 4, 16)
BATCHES = {"batched": 8, "one_by_one": 1}
_BOUNDARY = "lasagna-benchmark"
Send = Callable[[HTTPConnection], None]


@contextmanager
def server(*words: str) -> Iterator[tuple[int, int]]:
    """Yield the port and the process id of a server."""
    command = [sys.executable, "-m", "lasagna", "serve", "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stdout.readline, "") if process.stdout is not None else iter(())
        yield int(next(found[1] for line in lines if (found := re.search(r":(\d+)/v1 answers", line)))), process.pid
    finally:
        process.terminate()
        process.wait()


def form(file: bytes | None, fields: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a form."""
    parts = [f'name="{name}"\r\n\r\n{json.dumps(value)}'.encode() for name, value in fields.items()]
    parts += [] if file is None else [b'name="image"; filename="a.jpg"\r\n\r\n' + file]
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{_BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}


def post(connection: HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> Any:
    """Send a request and return its answer."""
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status >= 300:
        raise RuntimeError(f"status {response.status}: {content[:200]!r}")
    return json.loads(content)


def predicting(file: bytes) -> Send:
    """Return what asks about a picture that it sends."""
    body, headers = form(file, {"queries": [{"names": SEEN}]})
    return lambda connection: post(connection, "/v1/predict", body, headers)


def ask(port: int, sends: Sequence[Send], clients: int) -> dict[str, float]:
    """Send requests from several clients; return requests a second, and the latency of half and of 95 % in ms."""
    sent = iter(sends)

    def client(_: int) -> list[float]:
        connection, times = HTTPConnection("127.0.0.1", port, timeout=600), list[float]()
        for send in sent:
            began = time.perf_counter()
            send(connection)
            times.append(time.perf_counter() - began)
        return times

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = sorted(one for each in pool.map(client, range(clients)) for one in each)
    spent = time.perf_counter() - began
    late = times[min(len(times) - 1, round(0.95 * len(times)))]
    return {"requests_per_second": len(times) / spent, "p50_ms": 1e3 * statistics.median(times), "p95_ms": 1e3 * late}


def measure(files: Sequence[bytes], requests: int, rounds: int) -> dict[str, Any]:
    """Return what the servers do for more and more clients, and for kept pictures."""
    found: dict[str, Any] = {str(clients): {} for clients in CLIENTS}
    with (
        server("--limits.batch", str(BATCHES["batched"])) as (batched, _),
        server("--limits.batch", str(BATCHES["one_by_one"])) as (single, _),
    ):
        ports = {"batched": batched, "one_by_one": single}
        for port in ports.values():
            ask(port, [predicting(file) for file in files], 4)
        for clients in CLIENTS:
            sends = [predicting(files[rank % len(files)]) for rank in range(requests)]
            turns = [{name: ask(port, sends, clients) for name, port in ports.items()} for _ in range(rounds)]
            for name in ports:
                runs = [turn[name] for turn in turns]
                found[str(clients)][name] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        return {"clients": found, "kept": kept(batched, files, rounds)}


def kept(port: int, files: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Return the seconds of ten requests about one kept picture, its upload included, and about ten that are sent."""
    once, each = list[float](), list[float]()
    for _ in range(rounds):
        connection = HTTPConnection("127.0.0.1", port, timeout=600)
        began = time.perf_counter()
        key = post(connection, "/v1/images", *form(files[0], {}))["image_id"]
        body = json.dumps({"image_id": key, "queries": [{"names": SEEN}]}).encode()
        for _ in range(10):
            post(connection, "/v1/predict", body, {"Content-Type": "application/json"})
        once.append(time.perf_counter() - began)
        each.append(10 / ask(port, [predicting(file) for file in files[:10]], 1)["requests_per_second"])
    return {"one_picture_ten_times": statistics.median(once), "ten_pictures": statistics.median(each)}


def memory(files: Sequence[bytes], counts: Sequence[int]) -> dict[str, float]:
    """Return the MiB of a server's process after some requests of four clients."""
    found, done = {}, 0
    with server() as (port, process):
        for count in counts:
            ask(port, [predicting(files[rank % len(files)]) for rank in range(done, count)], 4)
            done = count
            status = Path(f"/proc/{process}/status").read_text()
            found[str(count)] = int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024
    return found


def main() -> None:
    """Measure, print and perhaps file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=64, help="requests of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="+", default=[100, 2000], help="requests before memory is measured")
    parser.add_argument("--results", action="store_true", help="file the numbers under docs/results")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        files = [path.read_bytes() for path in write_images(Path(folder) / "images", 16)]
    found = measure(files, arguments.requests, arguments.rounds) | {"memory_mib": memory(files, arguments.memory)}
    print(json.dumps(found, indent=1))
    if arguments.results:
        from lasagna.tasks.callbacks.run_facts import versions, write_json

        facts = {"cores": os.cpu_count(), "load_before": load, "requests": arguments.requests}
        write_json(RESULTS, {**facts, **found, "versions": versions()})


if __name__ == "__main__":
    main()
