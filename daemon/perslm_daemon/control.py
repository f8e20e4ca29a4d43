"""The control socket: the command line's way into the running daemon, and any local program's.

One request per line of JSON, events and the one answer back as lines (docs/control.md). Whatever a client sends or
leaves undone concerns that client alone: lines, frames, waiting and the number of clients are bounded. A client
that hangs up cancels what it asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from perslm_daemon.bulletin import Bulletin, Value
from perslm_daemon.control_claim import Claim
from perslm_daemon.control_verbs import SocketRequest, SocketVerbs
from perslm_daemon.outbox import Outbox
from perslm_daemon.turn import Event, Heard, Partial, Remembered, Sentence, Spoken, Tell
from perslm_daemon.verbs import Args, Request, Response, Verb, Verbs, refusal
from perslm_runtime import __version__
from perslm_runtime.audio import SPEECH_RATE_HZ, Pcm
from perslm_runtime.errors import InputError

log = logging.getLogger("perslm.control")

MAX_LINE_BYTES = 2 * 1024 * 1024
"""Longest request line: the longest payload (256 KiB), every byte of it escaped."""

MAX_CLIENTS = 32
"""Connections at once; the next is told that there are too many."""

IDLE_S = 60.0  # between two requests; the command line connects once per request
REQUEST_S = 30.0  # from a request's first byte to its last
_GONE_POLL_S = 0.05
_DRAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it came: its verb, payload and frame."""

    verb: str
    payload: bytes
    sound: Pcm | None


class ControlSocket:
    """Serves `verbs`, the command line's own verbs and the bulletin at `path`; `metrics` gives Prometheus text."""

    def __init__(
        self,
        path: Path,
        verbs: Verbs,
        bulletin: Bulletin,
        metrics: Callable[[], str] | None = None,
        *,
        own: SocketVerbs | None = None,
        node: str = "",
        longest_sound_s: float = 120.0,
    ) -> None:
        self.path = path
        self._verbs = verbs
        self._bulletin = bulletin
        self._metrics = metrics
        self._node = node
        self._own = own
        self._own_verbs = own.table() if own is not None else Verbs({})
        self._longest_frame = round(longest_sound_s * SPEECH_RATE_HZ) * 2
        self._clients = 0

    async def serve(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started once clients can connect.

        Raises `ConfigError` when another PersLM runs with this folder or the socket cannot be made there.
        """
        claim = await anyio.to_thread.run_sync(Claim, self.path)
        try:
            async with anyio.create_task_group() as tasks:
                task_status.started()
                while True:
                    try:
                        connected, _ = await asyncio.get_running_loop().sock_accept(claim.socket)
                    except OSError as error:  # out of file descriptors: those who are connected go on
                        log.warning("accept_failed errno=%s", error.errno)
                        await anyio.sleep(0.2)
                        continue
                    tasks.start_soon(self._serve_client, connected)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(claim.release)

    async def _serve_client(self, connected: socket.socket) -> None:
        self._clients += 1
        try:
            with connected:
                await self._talk(connected)
        except Exception as error:  # one client's trouble is nobody else's
            log.exception("client_failed error=%s", type(error).__name__)
        finally:
            self._clients -= 1

    async def _talk(self, connected: socket.socket) -> None:
        async with _writing(connected) as client:
            if not trusted(_peer_uid(connected)):
                client.put(refusal("this PersLM belongs to another user").as_json())
            elif self._clients > MAX_CLIENTS:
                client.put(refusal(f"{MAX_CLIENTS} programs are connected already: try again").as_json())
            else:
                client.put_json(self._greeting())
                await self._requests(client)

    def _greeting(self) -> dict[str, Any]:
        own = self._own
        return {
            "perslm": __version__,
            "pid": os.getpid(),
            "node": self._node,
            "hears": own is not None and own.hears,
            "speaks": own is not None and own.speaks,
        }

    async def _requests(self, client: _Client) -> None:
        while True:
            try:
                line = await client.line()
                if line is None:
                    return
                asked = await self._read(client, line)
            except InputError as error:
                _refuse(client, error)
                continue
            except _LostError as error:
                _refuse(client, error)
                await client.drain()
                return
            await self._run(client, asked)

    async def _read(self, client: _Client, line: bytes) -> _Asked:
        """The request that a line begins. Raises `InputError`, or `_LostError` when its end cannot be found."""
        try:
            told = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the line is no JSON ({error}): send one JSON object per line") from error
        if not isinstance(told, dict):
            raise InputError('the line is no JSON object: send {"verb": "status"}')
        sound = None
        if "bytes" in told:
            size = told["bytes"]
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= self._longest_frame:
                raise _LostError(f"bytes has to be a whole number from 0 to {self._longest_frame}")
            sound = Pcm(np.frombuffer(await client.exactly(size), "<i2", size // 2), SPEECH_RATE_HZ)
        unknown = ", ".join(sorted(told.keys() - {"verb", "payload", "bytes"}))
        if unknown:
            raise InputError(f"a request has verb, payload and bytes, not {unknown[:80]}: use payload")
        verb, payload = told.get("verb"), told.get("payload")
        if not isinstance(verb, str):
            raise InputError('the request names no verb: send {"verb": "status"}')
        if payload is not None and not isinstance(payload, str | dict):
            raise InputError("payload has to be text, or an object of the verb's arguments")
        text = payload if isinstance(payload, str) else json.dumps(payload) if payload else ""
        return _Asked(verb, text.encode("utf-8", "surrogatepass"), sound)

    async def _run(self, client: _Client, asked: _Asked) -> None:
        request = SocketRequest(asked.verb, asked.payload, sound=asked.sound)
        response: Response | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.cancel_when_gone, tasks.cancel_scope)
            response = await self._table(client, asked.verb).answer(request, client.tell)
            tasks.cancel_scope.cancel()
        if response is not None:
            if response.kind is not None:
                client.put_json({"event": "refused", "kind": response.kind})
            client.put(response.as_json())

    def _table(self, client: _Client, verb: str) -> Verbs:
        if self._own_verbs.get(verb) is not None:
            return self._own_verbs
        if verb == "metrics" and self._metrics is not None:
            return Verbs({verb: Verb(verb, Args, "measurements as Prometheus text", self._measure)})
        if verb == "watch":

            async def watch(_args: Args, _request: Request, _tell: Tell) -> Mapping[str, Any]:
                return await self._watch(client)

            return Verbs({verb: Verb(verb, Args, "values and events as they happen", watch)})
        return self._verbs

    async def _measure(self, _args: Args, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        return {"text": self._metrics() if self._metrics is not None else ""}

    async def _watch(self, client: _Client) -> Mapping[str, Any]:
        async with self._bulletin.listen() as notices:
            async for notice in notices:
                if isinstance(notice, Value):
                    client.put_json({"event": "value", "name": notice.name, "value": notice.value})
                else:
                    happened = {"event_type": notice.event_type, "fields": dict(notice.fields)}
                    client.put_json({"event": "happened", **happened})
        return {}


class _LostError(Exception):
    """What the client sends can no longer be told apart into requests; it is told why and disconnected."""


def _refuse(client: _Client, error: Exception) -> None:
    client.put_json({"event": "refused", "kind": "InputError"})
    client.put(refusal(str(error)).as_json())


def trusted(uid: int) -> bool:
    """Whether a user may ask: the one this process runs as, and root."""
    return uid in {os.geteuid(), 0}


def _peer_uid(connected: socket.socket) -> int:
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


@asynccontextmanager
async def _writing(connected: socket.socket) -> AsyncIterator[_Client]:
    """A client whose answers are written while the block runs, and what is left of them when it ends."""
    async with anyio.create_task_group() as tasks:
        client = _Client(connected, tasks.cancel_scope)
        tasks.start_soon(client.write)
        yield client
        client.finish()


class _Client:
    """One connection: bounded lines and frames in, and out what is put, as fast as the client reads.

    It reads through asyncio and not anyio's stream, whose reader calls `set_result` on a future that a
    cancellation in the same round of the loop has ended (InvalidStateError; seen in one test run of three).
    """

    def __init__(self, connected: socket.socket, scope: anyio.CancelScope) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._poll = select.poll()
        self._poll.register(connected.fileno(), 0)  # only what cannot be left out: hung up, and error
        self._buffer = bytearray()
        self._out = Outbox(connected, scope)

    # In

    async def line(self) -> bytes | None:
        """The next line, None when there is none. Raises `_LostError` when it is too long or late."""
        if not self._buffer:
            with anyio.move_on_after(IDLE_S):
                await self._more()
        if not self._buffer:
            return None
        seen = 0
        with _deadline() as late:
            while (end := self._buffer.find(b"\n", seen)) < 0 and len(self._buffer) <= MAX_LINE_BYTES:
                seen = len(self._buffer)
                if not await self._more():
                    end = seen  # the last line of a pipe may lack its end
                    break
        if late.cancelled_caught:
            raise _LostError(f"the line was not finished within {REQUEST_S:.0f} s")
        if end < 0 or end > MAX_LINE_BYTES:
            raise _LostError(f"the line has more than {MAX_LINE_BYTES} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def exactly(self, size: int) -> bytes:
        """The frame of `size` bytes after a line. Raises `_LostError` when it does not come."""
        with _deadline():
            while len(self._buffer) < size and await self._more():
                pass
        if len(self._buffer) < size:
            raise _LostError(f"the frame of {size} bytes did not come within {REQUEST_S:.0f} s")
        frame = bytes(self._buffer[:size])
        del self._buffer[:size]
        return frame

    async def drain(self) -> None:
        """Read what a client goes on sending for a moment: it reads its error only after that."""
        with anyio.move_on_after(_DRAIN_S):
            self._buffer.clear()
            while await self._more():
                self._buffer.clear()

    async def _more(self) -> bool:
        try:
            received = await self._loop.sock_recv(self._socket, 65_536)
        except OSError:
            return False
        self._buffer += received
        return bool(received)

    async def cancel_when_gone(self, scope: anyio.CancelScope) -> None:
        """Cancel `scope` once the client has hung up.

        Asked of the kernel and not seen by reading: a pipe's writer (`printf ... | socat`) shuts its half after
        the request and still wants its answer, and reads as the same end of stream.
        """
        while not self._poll.poll(0):  # noqa: ASYNC110 - no event says it without reading
            await anyio.sleep(_GONE_POLL_S)
        scope.cancel()

    # Out

    async def tell(self, event: Event) -> None:
        """Put an event of a turn."""
        match event:
            case Heard(text):
                self.put_json({"event": "heard", "text": text})
            case Partial(text):
                self.put_json({"event": "partial", "text": text})
            case Remembered(memories):
                found = [
                    {"id": one.id, "text": one.text, "score": round(one.score, 3), "why": one.why}
                    for one in memories
                ]
                self.put_json({"event": "recalled", "memories": found})
            case Sentence(seq, text):
                self.put_json({"event": "sentence", "seq": seq, "text": text})
            case Spoken(seq, sound):
                frame = np.ascontiguousarray(sound.samples, "<i2").tobytes()
                head = {"event": "spoken", "seq": seq, "rate_hz": sound.rate_hz, "bytes": len(frame)}
                self.put(json.dumps(head).encode(), frame)

    def put_json(self, told: Mapping[str, Any]) -> None:
        """Put one line of JSON."""
        self.put(json.dumps(told, ensure_ascii=False, default=str).encode("utf-8", "replace"))

    def put(self, line: bytes, frame: bytes = b"") -> None:
        """Put one line, and a frame after it, for the writer; never waits. Who is too far behind is cut off."""
        self._out.put(line + b"\n" + frame)

    def finish(self) -> None:
        """Nothing more will be put."""
        self._out.finish()

    async def write(self) -> None:
        """Send what is put, until `finish`."""
        await self._out.write()


def _deadline() -> anyio.CancelScope:
    return anyio.CancelScope(deadline=anyio.current_time() + REQUEST_S)
