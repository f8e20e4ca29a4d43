"""What a sandboxed tool sees of the world: its folder, and connections that the daemon has checked and opened.

Written for authors of tools: `def tool(arguments, world) -> str`. A tool with hosts may use Python's own sockets
and whatever stands on them (imaplib, urllib3): connecting asks the daemon, and any other network call fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_MESSAGE_BYTES = 128 * 1024
"""Of one message between a tool and the daemon."""


class ToolError(Exception):
    """What a tool raises to say what is wrong, as a sentence for people; any other error is only named."""


@dataclass(frozen=True, slots=True)
class World:
    """What one call may use. `folder` is where it works, None where it has none."""

    channel: socket.socket
    folder: Path | None = None

    def dial(self, host: str, port: int) -> socket.socket:
        """A connection to a host that the tool is allowed. Raises `ToolError` where it is not, or not reached."""
        self.tell({"dial": [host, port]})
        data, handles, _, _ = socket.recv_fds(self.channel, 4096, 1)
        answer = json.loads(data) if data else {"error": "the daemon is gone"}
        if "error" in answer or not handles:
            raise ToolError(str(answer.get("error", "no connection came")))
        return _Real(fileno=handles[0])

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message to the daemon."""
        self.channel.send(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"))


_Real = socket.socket
_world: list[World] = []


class _Dialled(_Real):
    """A socket whose connection the daemon opens: made without a system call that the sandbox refuses."""

    def __init__(
        self,
        family: int = -1,
        type: int = -1,  # noqa: A002 - socket's own name
        proto: int = -1,
        fileno: int | None = None,
    ) -> None:
        self._connected = fileno is not None
        if fileno is None:
            ours, other = socket.socketpair()
            other.close()
            fileno = ours.detach()
            family = socket.AF_INET if family == -1 else family
            type = socket.SOCK_STREAM if type == -1 else type  # noqa: A001 - as above
            if type & 0xF != socket.SOCK_STREAM:
                os.close(fileno)
                raise PermissionError("a tool has TCP connections only")
        super().__init__(family, type, proto, fileno)

    def connect(self, address: Any) -> None:
        host, port = address[0], int(address[1])
        try:
            dialled = _world[0].dial(str(host), port)
        except ToolError as error:
            raise ConnectionRefusedError(str(error)) from error
        with dialled:
            os.dup2(dialled.fileno(), self.fileno())
        self._connected = True
        self.settimeout(self.gettimeout())  # the flag belongs to the connection that came

    def connect_ex(self, address: Any) -> int:
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or 111
        return 0

    def setsockopt(self, *arguments: Any) -> None:
        with contextlib.suppress(OSError) if not self._connected else contextlib.nullcontext():
            super().setsockopt(*arguments)


def _addresses(host: Any, port: Any, *_: Any, **__: Any) -> Sequence[tuple[Any, ...]]:
    """Names are looked up by the daemon: a name is its own address here."""
    name = host.decode() if isinstance(host, bytes) else str(host)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, int(port or 0)))]


def _connection(address: Any, timeout: Any = None, *_: Any, **__: Any) -> socket.socket:
    made = _Dialled()
    made.settimeout(timeout if isinstance(timeout, int | float) else None)
    made.connect(address)
    return made


def route_sockets(world: World) -> None:
    """Let Python's sockets ask the daemon; in the child of one call only."""
    _world[:] = [world]
    # This process is the tool's alone, and ends with it.
    socket.socket = _Dialled  # type: ignore[misc]  # as above
    socket.create_connection = _connection
    socket.getaddrinfo = _addresses  # type: ignore[assignment]  # as above
