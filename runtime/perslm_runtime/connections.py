"""Kept connections to servers that are asked often: one handshake for a whole look, resumed at the next one.

Small answers over https, and plain http on this machine. What stands behind a redirect or a proxy is left to
`fetch`, which knows both. Any thread may ask; a connection serves one of them at a time. Knows no path.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit

from perslm_runtime import __version__
from perslm_runtime.catalog_file import allowed_url
from perslm_runtime.fetch import CHUNK, FetchError, read_url
from perslm_runtime.lane import Stop

_ELSEWHERE = frozenset({301, 302, 303, 307, 308})

Place = tuple[str, str, int | None]
"""Scheme, host and port: what a connection and a TLS session are good for."""


class NotModified(Exception):
    """The server has what the caller named by its validator."""


class Connections:
    """`tls` says who is trusted and what is shown, where that is not the system's.

    Sessions live as long as this object and are resumed for two hours: a look at a training host is 3.1 KB then,
    and 4.5 KB with a whole handshake, which a server that was started anew makes again.
    """

    def __init__(self, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        self.tls, self._timeout_s = tls, timeout_s
        self._lock = threading.Lock()
        self._idle: dict[Place, list[http.client.HTTPConnection]] = {}
        self._sessions: dict[Place, ssl.SSLSession] = {}

    def read(self, url: str, *, stop: Stop, validator: str = "", seen: list[str] | None = None) -> Iterator[bytes]:
        """The body behind an address, piece by piece; the caller counts and ends it.

        With the `validator` of an earlier answer (an ETag or a date) the server may say that nothing is new:
        `NotModified`. The validator of this answer is appended to `seen`. Raises as `fetch.read_url`.
        """
        if not allowed_url(url):
            raise FetchError(f"{url} is not an https address")
        parts = urlsplit(url)
        if _proxied(parts):
            yield from read_url(url, timeout_s=self._timeout_s, stop=stop, tls=self.tls)
            return
        with self.asked("GET", url, headers=_condition(validator)) as response:
            if response.status == HTTPStatus.NOT_MODIFIED:
                raise NotModified
            if response.status == HTTPStatus.OK:
                if seen is not None:
                    seen.append(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
                while chunk := response.read1(CHUNK):
                    stop.check()
                    yield chunk
                return
            response.read(CHUNK)
        if response.status not in _ELSEWHERE:
            raise FetchError(
                f"{url}: the server answered {response.status} {response.reason}", status=response.status
            )
        yield from read_url(url, timeout_s=self._timeout_s, stop=stop, tls=self.tls)

    @contextmanager
    def asked(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """One request and its answer, which the block reads. Raises `FetchError` where the network fails.

        An answer that was read to its end leaves its connection for the next request; any other ends it.
        """
        parts = urlsplit(url)
        place: Place = (parts.scheme, parts.hostname or "", parts.port)
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        sent = {"User-Agent": f"perslm/{__version__}", **(headers or {})}
        connection, response = self._answered(place, method, path, body, sent)
        try:
            yield response
        except (http.client.HTTPException, OSError) as error:
            raise FetchError(f"{url}: the connection broke ({str(error) or type(error).__name__})") from error
        finally:
            whole = response.isclosed() or response.length == 0
            response.close()
            if whole and not response.will_close:
                with self._lock:
                    self._idle.setdefault(place, []).append(connection)
            else:
                connection.close()

    def rest(self) -> None:
        """End the connections that idle; their TLS sessions are kept."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    # -------------------------------------------------------------- inside

    def _answered(
        self, place: Place, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Ask over a connection that is there, and over a new one where its server has ended that meanwhile."""
        while (connection := self._taken(place)) is not None:
            try:
                connection.request(method, path, body, dict(headers))
                return connection, connection.getresponse()
            except (http.client.HTTPException, OSError):
                connection.close()
        connection = self._opened(place)
        secured = connection.sock
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise FetchError(
                f"{_named(place)}: the connection broke ({str(error) or type(error).__name__})"
            ) from error
        # A server of TLS 1.3 sends the ticket behind its handshake, so it is here once something was read.
        session = getattr(secured, "session", None)
        if session is not None and session.has_ticket:
            self._sessions[place] = session
        return connection, response

    def _taken(self, place: Place) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(place)
            return idle.pop() if idle else None

    def _opened(self, place: Place) -> http.client.HTTPConnection:
        scheme, host, port = place
        if scheme == "https":
            session = self._sessions.get(place)
            connection: http.client.HTTPConnection = _Secured(
                host, port, self._timeout_s, self._context(), session
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            connection.close()
            # A board without a battery clock starts in the past, where every certificate is invalid.
            raise FetchError(
                f"{_named(place)}: its certificate is not accepted ({error.verify_message}); is `date` right here?"
            ) from error
        except OSError as error:
            connection.close()
            raise FetchError(f"{_named(place)}: no connection ({error})", offline=True) from error
        return connection

    def _context(self) -> ssl.SSLContext:
        with self._lock:
            if self.tls is None:
                self.tls = ssl.create_default_context()
            return self.tls


class _Secured(http.client.HTTPSConnection):
    """https that goes on with a session of an earlier connection, which the standard library's cannot."""

    def __init__(
        self, host: str, port: int | None, timeout_s: float, tls: ssl.SSLContext, session: ssl.SSLSession | None
    ) -> None:
        super().__init__(host, port, timeout=timeout_s, context=tls)
        self._tls, self._session = tls, session

    def connect(self) -> None:
        """Connect and shake hands."""
        http.client.HTTPConnection.connect(self)
        plain: Any = self.sock
        self.sock = self._tls.wrap_socket(plain, server_hostname=self.host, session=self._session)


def _condition(validator: str) -> dict[str, str]:
    if not validator:
        return {}
    return {"If-None-Match" if validator.startswith(('"', "W/")) else "If-Modified-Since": validator}


def _proxied(parts: SplitResult) -> bool:
    host = parts.netloc.rpartition("@")[2]
    return parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)


def _named(place: Place) -> str:
    scheme, host, port = place
    return f"{scheme}://{host}" + (f":{port}" if port else "")
