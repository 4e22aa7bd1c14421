"""A server of files on the loopback that fails as it is told to."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server:
    """Serves a folder.

    Args:
        folder: The folder.
        ranges: Whether parts of files can be asked for.
    """

    def __init__(self, folder: Path, ranges: bool = True) -> None:
        self.folder, self.ranges, self.sizes = folder, ranges, True
        self.faults: dict[str, list] = defaultdict(list)
        """By name of a file, for the next requests: a status, ("drop", bytes), ("cut", bytes), "stall" or None."""
        self.asked: list[tuple[str, str, str | None]] = []
        """Method, path and range of each request."""
        self.authorised: list[str | None] = []
        """User and password of each request, as HTTP sends them."""
        self.released = threading.Event()
        """Lets those go that stall."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def requests(self, file: str, method: str = "GET") -> list[str | None]:
        """The ranges in which a file was asked for."""
        return [span for verb, path, span in self.asked if verb == method and path.endswith(file)]

    @contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server, *args):
        self.folder_server = server
        super().__init__(*args)

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        server, path = self.folder_server, self.path.partition("?")[0]
        server.authorised.append(self.headers.get("Authorization"))
        server.asked.append((self.command, self.path, self.headers.get("Range")))
        waiting = server.faults[Path(path).name]
        fault = waiting.pop(0) if waiting and body else None
        file = server.folder / path.lstrip("/")
        if isinstance(fault, int) or not file.is_file():
            self.send_error(fault or 404)
            return
        if not (body or server.sizes):
            self.send_error(405)
            return
        if fault == "stall":
            server.released.wait(20)
            self.close_connection = True
            return
        content = file.read_bytes()
        if fault and fault[0] == "cut":
            content = content[: fault[1]]
        self._send(content, body, fault)

    def _send(self, content, body, error):
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(span[1]) if span and self.folder_server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            dropped = error and error[0] == "drop"
            self.wfile.write(content[start : start + error[1] if dropped else None])

    def log_message(self, *args):
        pass
