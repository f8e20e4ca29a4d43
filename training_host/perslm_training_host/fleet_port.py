"""The fleet's page on a port of this machine alone: for a browser here, without a password.

Answers only to the loopback's own names, so that no page from elsewhere can read it by a name that leads here.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from perslm_training_host.fleet import as_data, as_page, look

_NAMES = ("localhost", "127.0.0.1", "[::1]")


class FleetPort(ThreadingHTTPServer):
    """Serves / and /fleet.json of a repository's fleet; `wished` gives stops that wait for a key."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int, wished: Callable[[], Mapping[str, str]]) -> None:
        self.folder, self.wished = folder, wished
        super().__init__(("127.0.0.1", port), _Handler)

    @contextmanager
    def running(self) -> Iterator[int]:
        """Serve from a thread while the block runs; gives the port."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self.server_address[1]
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FleetPort
    server_version = "perslm-host"
    sys_version = ""
    timeout = 30.0

    def do_GET(self) -> None:
        if self.headers.get("Host", "").rpartition(":")[0] not in _NAMES:
            return self._answer(HTTPStatus.FORBIDDEN, b"this page is for a browser on this machine", "text/plain")
        known, going = look(self.server.folder)
        wished = self.server.wished()
        if self.path == "/fleet.json":
            told = json.dumps(as_data(known, going, wished, time.time())).encode()
            return self._answer(HTTPStatus.OK, told, "application/json")
        if self.path != "/":
            return self._answer(HTTPStatus.NOT_FOUND, b"there is / and /fleet.json", "text/plain")
        page = as_page(known, going, wished, time.time()).encode()
        return self._answer(HTTPStatus.OK, page, "text/html; charset=utf-8")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """A page that is looked at is no event."""
