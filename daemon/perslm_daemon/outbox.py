"""What goes out to one client of a socket: put at once, written as fast as the client reads, never waited for.

Nobody waits for a slow reader: who takes nothing for too long, or falls too far behind, is cut off by cancelling
its scope. Knows bytes alone.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import anyio
import anyio.lowlevel

SEND_S = 10.0  # a reader that takes nothing for so long has stopped reading
BEHIND_BYTES = 16 * 1024 * 1024  # a reader may be so far behind: five minutes of speech
_LAST_WORDS_S = 0.3


class Outbox:
    """The bytes on their way to `connected`. `scope` is cancelled when its client is cut off."""

    def __init__(
        self,
        connected: socket.socket,
        scope: anyio.CancelScope,
        *,
        send_s: float = SEND_S,
        behind_bytes: int = BEHIND_BYTES,
    ) -> None:
        self._socket, self._scope = connected, scope
        self._send_s, self._most_behind = send_s, behind_bytes
        self._sender, self._receiver = anyio.create_memory_object_stream[bytes](float("inf"))
        self._behind = 0

    def put(self, data: bytes) -> None:
        """Put bytes for the writer; never waits. Who is too far behind is cut off."""
        self._behind += len(data)
        if self._behind > self._most_behind:
            self._scope.cancel()
            return
        with suppress(
            anyio.BrokenResourceError, anyio.ClosedResourceError
        ):  # the writer has given up, and the scope with it
            self._sender.send_nowait(data)

    def finish(self) -> None:
        """Nothing more will be put."""
        self._sender.close()

    async def write(self) -> None:
        """Send what is put, until `finish`; at a stop, what was put before it, for a moment."""
        try:
            async for data in self._receiver:
                await self._send(data)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_LAST_WORDS_S, shield=True):
                while self._receiver.statistics().current_buffer_used:
                    await self._send(self._receiver.receive_nowait())
            raise
        finally:
            self._sender.close()
            self._receiver.close()

    async def _send(self, data: bytes) -> None:
        try:
            with anyio.fail_after(self._send_s):
                await asyncio.get_running_loop().sock_sendall(self._socket, data)
            self._behind -= len(data)
        except OSError:
            self._scope.cancel()
            await anyio.lowlevel.checkpoint()
