"""A web server on 127.0.0.1 that serves bytes, and can be told to misbehave as real ones do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, how, and what was asked for (path and Range header of every request)."""

    pages: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    # Statuses answered before anything else, one per request.
    failures: list[int] = field(default_factory=list)
    # After how many bytes of the body the connection is dropped, one per request; None: not at all.
    cuts: list[int | None] = field(default_factory=list)
    version: str | None = '"first"'
    version_header: str = "ETag"
    ranges: bool = True
    announce_length: bool = True
    chunk_bytes: int = 1 << 16
    pause_s: float = 0.0
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    sent_bytes: int = 0
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.requests.append((self.path, self.headers.get("Range")))
        if site.failures:
            self._head(site.failures.pop(0), 0)
        elif self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path not in site.pages:
            self._head(404, 0)
        else:
            self._body(site.pages[self.path])

    def do_POST(self) -> None:
        """As a GET; what was sent is not looked at."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def _body(self, page: bytes) -> None:
        site = self.site
        start = 0
        asked = self.headers.get("Range")
        if asked and site.ranges and self.headers.get("If-Range", site.version) == site.version:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(page) > 0:
            self._head(416, 0)
            return
        body = page[start:]
        self._head(
            206 if start else 200, len(body), f"bytes {start}-{len(page) - 1}/{len(page)}" if start else None
        )
        cut = site.cuts.pop(0) if site.cuts else None
        for place in range(0, len(body), site.chunk_bytes):
            piece = body[place : place + site.chunk_bytes]
            if cut is not None and place + len(piece) > cut:
                piece = body[place:cut]
            site.sent_bytes += len(piece)  # before: the client may have read it when this thread goes on
            self.wfile.write(piece)
            self.wfile.flush()
            if cut is not None and place + len(piece) >= cut:
                break
            time.sleep(site.pause_s)

    def _head(self, status: int, length: int, content_range: str | None = None) -> None:
        site = self.site
        self.send_response(status)
        if site.announce_length or status >= 300:
            self.send_header("Content-Length", str(length))
        if site.version:
            self.send_header(site.version_header, site.version)
        if self.path.endswith("/"):  # the registry's client reads only pages that call themselves HTML
            self.send_header("Content-Type", "text/html")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is what some tests are about."""


@contextmanager
def serving(pages: dict[str, bytes] | None = None) -> Iterator[Site]:
    """Serve `pages` on a free port of 127.0.0.1 while the block runs."""
    site = Site(pages=dict(pages or {}))
    handler = type("Handler", (_Handler,), {"site": site})
    with _Server(("127.0.0.1", 0), handler) as server:
        site.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
