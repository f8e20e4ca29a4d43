"""Who asks over HTTP, and how much: tokens, this machine's own user, and the measure of requests. No HTTP library.

While there is no token, only a process of the user that PersLM runs as (or root) may ask, from this machine: the
same who may open the control socket. The kernel says whose a loopback connection is (/proc/net/tcp).
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from perslm_daemon import http_tokens
from perslm_daemon.http_tokens import SCOPES, Token
from perslm_runtime.errors import ConfigError

log = logging.getLogger("perslm.http")

_FRESH_S = 1.0  # for so long the tokens are not looked at again: a revoked one is refused after a second
_WRONG_PER_MINUTE = 20  # tokens that are wrong, from one address
_MOST_MEASURED = 1024  # callers and addresses that are kept in mind; the longest unheard is forgotten

Place = tuple[str, int]
"""An IP address and a port."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the token's name ("" without one), the person it speaks for, and what it opens."""

    name: str
    person: str
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Denied:
    """Nobody who may ask: the HTTP status (401, 403 or 429), why, and the seconds to wait where that helps."""

    status: int
    why: str
    wait_s: int = 0


class Access:
    """Tells who asks. `owner` is the person that this machine's own user speaks for."""

    def __init__(self, data_dir: Path, owner: str, per_minute: int) -> None:
        self._data_dir, self._owner = data_dir, owner
        self._measure = Measure(per_minute)
        self._wrong = Measure(_WRONG_PER_MINUTE)
        self._tokens: tuple[Token, ...] | None = ()
        self._stamp: object = "never"
        self._looked = float("-inf")
        self._looking = anyio.Lock()

    async def judge(self, presented: str | None, client: Place, server: Place) -> Caller | Denied:
        """Who sends `presented` (a bearer token) from `client` to `server`."""
        tokens = await self._current()
        if tokens is None:
            return Denied(403, "the tokens cannot be read, so nobody may come in: the daemon's log has the reason")
        # Clients that always send some key are let in by their user like any other, while there is no token.
        found = await (self._by_token(tokens, presented, client) if tokens else self._by_user(client, server))
        if isinstance(found, Denied):
            return found
        wait_s = self._measure.take(found.name)
        if wait_s:
            return Denied(429, f"too many requests: go on in {wait_s} s, or raise http.per_minute", wait_s)
        return found

    async def _by_token(self, tokens: tuple[Token, ...], presented: str | None, client: Place) -> Caller | Denied:
        if presented is None:
            return Denied(
                401, "this needs a token: send Authorization: Bearer TOKEN (`perslm token add` makes one)"
            )
        if wait_s := self._wrong.would_wait(client[0]):
            return Denied(429, f"too many wrong tokens: try again in {wait_s} s", wait_s)
        token = http_tokens.find(tokens, presented)
        if token is None:
            self._wrong.take(client[0])
            return Denied(401, "this token is wrong or was revoked: `perslm token list` has those there are")
        return Caller(token.name, token.person, frozenset(token.scopes))

    async def _by_user(self, client: Place, server: Place) -> Caller | Denied:
        if not is_loopback(client[0]):
            return Denied(401, "from another machine this needs a token: `perslm token add` makes one")
        uid = await anyio.to_thread.run_sync(uid_of, client, server)
        if uid is None or uid not in {os.geteuid(), 0}:
            return Denied(
                403, "this PersLM belongs to another user: `perslm token add`, by its user, makes a token"
            )
        return Caller("", self._owner, frozenset(SCOPES))

    async def _current(self) -> tuple[Token, ...] | None:
        """The tokens, None where they cannot be read."""
        async with self._looking:
            now = time.monotonic()
            if now - self._looked < _FRESH_S:
                return self._tokens
            stamp = await anyio.to_thread.run_sync(http_tokens.stamp, self._data_dir)
            if stamp != self._stamp:
                try:
                    self._tokens = await anyio.to_thread.run_sync(http_tokens.read, self._data_dir)
                except ConfigError as error:
                    log.warning("tokens_unreadable error=%s", error)
                    self._tokens = None
                self._stamp = stamp
            self._looked = now
            return self._tokens


class Measure:
    """Lets each name have `per_minute`, as many of them at once as it likes."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._most = per_minute / 60, float(per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> int:
        """Take one; returns 0, or the whole seconds to wait because there is none."""
        wait_s = self.would_wait(name)
        left, now = self._left.pop(name)
        self._left[name] = (left if wait_s else left - 1, now)
        return wait_s

    def would_wait(self, name: str) -> int:
        """What `take` would return."""
        now = self._clock()
        left, before = self._left.pop(name, (self._most, now))
        left = min(self._most, left + (now - before) * self._per_s)
        self._left[name] = (left, now)
        while len(self._left) > _MOST_MEASURED:
            self._left.popitem(last=False)
        return 0 if left >= 1 else max(1, round((1 - left) / self._per_s))


def is_loopback(address: str) -> bool:
    """Whether an IP address is one of this machine's loopback."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def uid_of(client: Place, server: Place, folder: Path = Path("/proc/net")) -> int | None:
    """The user whose process holds the `client` end of a connection on this machine; None where it is not told."""
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    wanted = [_as_kernel(family, client), _as_kernel(family, server)]
    try:
        rows = (folder / ("tcp6" if family == socket.AF_INET6 else "tcp")).read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for row in rows[1:]:
        fields = row.split()
        if fields[1:3] == wanted:
            return int(fields[7])
    return None


def _as_kernel(family: socket.AddressFamily, place: Place) -> str:
    """An address as /proc/net/tcp writes it: 32-bit words of the machine's byte order, in hexadecimal."""
    packed = socket.inet_pton(family, place[0])
    words = struct.unpack(f">{len(packed) // 4}I", packed)
    order = "<" if sys.byteorder == "little" else ">"
    swapped = struct.pack(f"{order}{len(words)}I", *words)
    return f"{swapped.hex().upper()}:{place[1]:04X}"
