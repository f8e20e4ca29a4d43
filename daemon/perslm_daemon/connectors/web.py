"""HTTP for connectors: one request at a time, with a password where it is safe, and never more than was asked for.

Python's own client; the sandbox decides which machines it reaches. Redirects stay on the machine that was named.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from perslm_daemon.near import is_near
from perslm_runtime.plugin import Problem

MOST_BYTES = 8_000_000
_TIMEOUT_S = 12.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server said: status, headers in lower case, body, and the address that answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


@dataclass(frozen=True, slots=True)
class Web:
    """A client; `user` and `password` go to the machine of `home` alone, encrypted or on this network."""

    home: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    def ask(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request, redirects followed. Raises `Problem` where no answer comes."""
        for _ in range(_MOST_REDIRECTS):
            reply = self._once(method, url, body, dict(headers or {}))
            if reply.status not in _REDIRECTS or "location" not in reply.headers:
                return reply
            after = urljoin(url, reply.headers["location"])
            if (
                urlsplit(after).netloc != urlsplit(url).netloc
                and urlsplit(after).hostname != urlsplit(url).hostname
            ):
                raise Problem(f"{urlsplit(url).hostname} sends me on to {urlsplit(after).hostname}: name that one")
            if urlsplit(url).scheme == "https" and urlsplit(after).scheme != "https":
                raise Problem(f"{urlsplit(url).hostname} wants to go on without encryption")
            url = after
            if reply.status == 303:
                method, body = "GET", None
        raise Problem(f"{urlsplit(url).hostname} sends me in a circle")

    def _once(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if self.user and urlsplit(self.home).hostname == host:
            require_private(url)
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        secure = parts.scheme == "https"
        made = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        try:
            connection = made(host, parts.port, timeout=_TIMEOUT_S)
            try:
                connection.request(method, path, body, {"User-Agent": "PersLM", **headers})
                answer = connection.getresponse()
                found = answer.read(MOST_BYTES + 1)
                named = {name.lower(): value for name, value in answer.getheaders()}
                status = answer.status
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Problem(f"{host} does not answer ({why(error)})") from error
        if len(found) > MOST_BYTES:
            raise Problem(f"{host} sends more than {MOST_BYTES // 1_000_000} MB")
        if status == 401:
            raise Problem(f"{host} does not take the user and password")
        return Reply(status, named, found, url)


def why(error: Exception) -> str:
    """An error of a connection in a word or two, without what was sent."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(error, TimeoutError | socket.timeout):
        return "it took too long"
    return str(getattr(error, "strerror", None) or type(error).__name__)


def require_private(url: str) -> None:
    """Raise `Problem` where a password would travel unencrypted beyond this network."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in ("https", "imaps", "smtps") or is_near(host):
        return
    raise Problem(f"a password would go to {host} unencrypted: use https, imaps or smtps in the settings")
