"""The gate before the HTTP application: who may come in, from where, and with how much. Pure ASGI, no library.

A name in the Host header that is none of this machine's means that a browser was led here by a page of somebody
else's (DNS rebinding), an Origin or a Sec-Fetch-Site of another site that such a page asks across sites: both are
refused before anything is read. A body is read here, within its size and time, before the application sees it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import anyio

from perslm_daemon.http_access import Access, Caller, Denied, Place

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

MAX_BODY_BYTES = 256 * 1024
"""Longest body of a request, but for recordings."""

MAX_SOUND_BYTES = 25 * 1024 * 1024
"""Longest body with a recording: OpenAI's own limit."""

_BODY_S = 30.0  # for a body to come; a recording of 25 MB over a slow radio link takes 20
_DRAIN_S = 2.0
_DRAIN_BYTES = 64 * 1024 * 1024  # thrown away as it comes
_SOUNDS_AT_ONCE = 2  # bodies with recordings that are held in memory
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_OWN_SITES = {b"same-origin", b"none"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further: the HTTP status, and a sentence that says the next step."""

    status: int
    error: str
    wait_s: int = 0

    def body(self, path: str) -> bytes:
        """The error in the form of the API that was asked: ours, or OpenAI's under /v1."""
        return json.dumps(error_data(self.status, self.error, path)).encode()


def error_data(status: int, error: str, path: str) -> dict[str, Any]:
    """An error as the API under `path` tells it."""
    if not path.startswith("/v1/"):
        return {"status": "error", "data": {}, "error": error}
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": error, "type": kind, "param": None, "code": _CODES.get(status)}}


_CODES = {401: "invalid_api_key", 404: "not_found", 413: "request_too_large", 429: "rate_limit_exceeded"}


class Gate:
    """Lets requests through to `app` that `access` knows, whose Host is an IP address or one of `names`.

    `is_open` says of a path that anybody may read it; `sounds` are the paths that take recordings, `needs` is the
    scope without which nothing of a request to a path is read: what a body holds is nobody's to have judged who
    may not ask. The caller is found in the scope's state as `caller`.
    """

    def __init__(
        self,
        app: Application,
        access: Access,
        names: Iterable[str],
        *,
        is_open: Callable[[str], bool] = lambda _path: False,
        sounds: frozenset[str] = frozenset(),
        needs: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._app, self._access = app, access
        self._names = frozenset(name.lower() for name in names)
        self._is_open, self._sounds, self._needs = is_open, sounds, needs
        self._room = anyio.Semaphore(_SOUNDS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = _headers(scope)
        refusal = self._judge_site(headers, scope["scheme"])
        if refusal is None and not (scope["method"] in {"GET", "HEAD"} and self._is_open(scope["path"])):
            judged = await self._access.judge(_bearer(headers), _place(scope["client"]), _place(scope["server"]))
            if isinstance(judged, Denied):
                refusal = Refusal(judged.status, judged.why, judged.wait_s)
            elif (needed := self._needs.get(scope["path"], "")) and needed not in judged.scopes:
                refusal = Refusal(403, lacking(needed))
            else:
                scope["state"] = {**scope.get("state", {}), "caller": judged}
        if refusal is not None:
            await _drain(receive)
            await refuse(refusal, scope["path"], send)
        elif scope["path"] in self._sounds:
            async with self._room:
                await self._let_in(scope, receive, send, headers, MAX_SOUND_BYTES)
        else:
            await self._let_in(scope, receive, send, headers, MAX_BODY_BYTES)

    async def _let_in(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[bytes, list[bytes]], most: int
    ) -> None:
        body = await _body(receive, headers, most)
        if isinstance(body, Refusal):
            await _drain(receive)
            await refuse(body, scope["path"], send)
            return
        if body is None:  # gone before it was asked
            return
        told = False

        async def receive_body() -> MutableMapping[str, Any]:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_body, send)

    def _judge_site(self, headers: Mapping[bytes, list[bytes]], scheme: str) -> Refusal | None:
        hosts = [host.decode("latin-1") for host in headers.get(b"host", [])]
        if len(hosts) != 1 or not self._ours(hosts[0]):
            return Refusal(
                421, f"this is not the address of a PersLM: use one of {', '.join(sorted(self._names))}"
            )
        origins = {origin.decode("latin-1").lower() for origin in headers.get(b"origin", [])}
        sites = set(headers.get(b"sec-fetch-site", []))
        if origins - {f"{scheme}://{hosts[0].lower()}"} or sites - _OWN_SITES:
            return Refusal(403, "a page of another site may not ask here")
        return None

    def _ours(self, host: str) -> bool:
        """An address cannot be rebound, a name can: only our own names are let through."""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].strip("[]").lower().rstrip(".")
        return name in self._names or _is_address(name)


def lacking(scopes: str) -> str:
    """What is told to a token that does not open `scopes`."""
    return f"this token does not open {scopes}: `perslm token add NAME --scope {scopes}`"


async def _body(receive: Receive, headers: Mapping[bytes, list[bytes]], most: int) -> bytes | Refusal | None:
    """The whole body; None when the client hung up."""
    too_long = Refusal(413, f"the request is longer than the {most} bytes that are read: send less")
    told = headers.get(b"content-length", [b"0"])[0]
    if len(told) > 12 or (told.isdigit() and int(told) > most):
        return too_long
    body = bytearray()
    with anyio.move_on_after(_BODY_S):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > most:
                return too_long
            if not message.get("more_body", False):
                return bytes(body)
    return Refusal(408, f"the request did not come within {_BODY_S:.0f} s")


async def _drain(receive: Receive) -> None:
    """Let the client finish sending, for a moment: a connection closed on unread bytes loses the answer."""
    left = _DRAIN_BYTES
    with anyio.move_on_after(_DRAIN_S):
        while left > 0:
            message = await receive()
            left -= len(message.get("body", b"")) + 1
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return


def _headers(scope: Scope) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name, []).append(value)
    return found


def _bearer(headers: Mapping[bytes, list[bytes]]) -> str | None:
    given = headers.get(b"authorization", [])
    if not given:
        return None
    if len(given) > 1:  # nobody knows which one a proxy before us has looked at
        return ""
    kind, _, token = given[0].decode("latin-1").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _place(told: Any) -> Place:
    return (str(told[0]), int(told[1])) if told else ("", 0)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def refuse(refusal: Refusal, path: str, send: Send) -> None:
    """Answer with a refusal, and close the connection."""
    body = refusal.body(path)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if refusal.wait_s:
        headers.append((b"retry-after", str(refusal.wait_s).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def caller_of(scope: Scope) -> Caller:
    """Who the gate found to be asking."""
    caller = scope["state"]["caller"]
    if not isinstance(caller, Caller):
        raise TypeError("the request did not come through the gate")
    return caller
