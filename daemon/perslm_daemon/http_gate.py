"""The gate before the HTTP application: who may come in at all. Pure ASGI, no library.

A name in the Host header that is none of this machine's means that a browser was led here by a page of somebody
else's (DNS rebinding): it is refused before anything is read.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further: the HTTP status, and a sentence that says the next step."""

    status: int
    error: str

    def body(self) -> bytes:
        """The form of every error of the API: status, data, error."""
        return json.dumps({"status": "error", "data": {}, "error": self.error}).encode()


class Gate:
    """Lets requests through to `app` whose Host is an IP address or one of `names`."""

    def __init__(self, app: Application, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        refusal = self._judge(scope)
        if refusal is not None:
            await refuse(refusal, send)
            return
        await self._app(scope, receive, send)

    def _judge(self, scope: Scope) -> Refusal | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._ours(hosts[0].decode("latin-1")):
            return Refusal(
                421, f"this is not the address of a PersLM: use one of {', '.join(sorted(self._names))}"
            )
        return None

    def _ours(self, host: str) -> bool:
        """An address cannot be rebound, a name can: only our own names are let through."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]").lower().rstrip(".")
        return name in self._names or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def refuse(refusal: Refusal, send: Send) -> None:
    """Answer with a refusal; what the client still sends is not read."""
    body = refusal.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
