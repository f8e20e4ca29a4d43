"""An address that notifications are posted to: a web server on 127.0.0.1 that keeps what came, and may refuse."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Hook:
    """What was posted: path, headers and text; `statuses` are answered before 200, one per request."""

    address: str = ""
    statuses: list[int] = field(default_factory=list)
    posted: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    asked: int = 0


@contextmanager
def hook() -> Iterator[Hook]:
    """The address, while the block runs."""
    site = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status = site.statuses.pop(0) if site.statuses else 200
            site.asked += 1
            if status == 200:
                site.posted.append((self.path, dict(self.headers), text))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
