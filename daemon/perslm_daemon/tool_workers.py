"""Sandboxed tools as the daemon sees them: one warm process that forks a child per call, and a channel to each
child.

The child has the sandbox (perslm_runtime.sandbox); here a call is sent, its connections are opened
(dialling.py), its answer is read, and its end is made sure of. Where this machine cannot sandbox, no such tool
runs.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, Self

import anyio
from anyio.abc import Process, TaskGroup

from perslm_daemon.dialling import dial
from perslm_daemon.tool_world import MOST_MESSAGE_BYTES
from perslm_daemon.tools import Caller, Limits, Run, Told
from perslm_runtime import sandbox
from perslm_runtime.errors import EngineError, InputError, PersLMError, ToolRefused
from perslm_runtime.tool_call import Value

log = logging.getLogger("perslm.tools")

_AT_ONCE, _QUICK_AT_ONCE, _WAITING_AT_ONCE = 4, 2, 4  # calls; each has memory of its own, a board has little
_KEPT_ENVIRONMENT = ("LANG", "LC_ALL", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ")
_MOST_DIALS, _MOST_TRIED = 16, 64  # connections that are made in a call, and wishes that are answered
_ENDS_S = 2.0
_WHY = {
    signal.SIGXCPU: "it computed for too long",
    signal.SIGKILL: "it was ended",
    signal.SIGXFSZ: "it wrote too large a file",
    signal.SIGSYS: "it did what the sandbox forbids",
}
_NAMED = {
    "MemoryError": "it needs more memory than it may have",
    "PermissionError": "it tried what the sandbox does not allow",
}


@dataclass(frozen=True, slots=True)
class Box:
    """How a tool runs in the sandbox.

    `entry` is "package.module:function", called with the arguments and a `tool_world.World`; its folder, more that
    it may read, the `hosts` it may connect to ("example.org", "*.example.org", "example.org:8443"). `preload`
    imports its module in the process that forks, outside the sandbox: for our own code, which then answers in
    milliseconds. A `quick` one does not wait behind those that may take seconds, and neither waits behind one that
    `waits` for what the daemon does for it. `argv_of` makes it a program instead: its path and arguments, out of
    the arguments of the call.
    """

    entry: str = ""
    folder: Path | None = None
    writes: bool = False
    readable: tuple[Path, ...] = ()
    hosts: tuple[str, ...] = ()
    preload: bool = False
    quick: bool = False
    waits: bool = False
    argv_of: Callable[[Mapping[str, Value]], Sequence[str]] | None = None


Errands = Callable[[Any], Awaitable[bytes]]
"""Does what a child asks for, and encodes the answer (JSON); what it raises ends the call."""


@dataclass(slots=True)
class _Ending:
    """How a child ended, once that is known."""

    known: anyio.Event = field(default_factory=anyio.Event)
    code: int | None = None
    killed: bool = False


class Workers:
    """Runs sandboxed calls: four at once, two quick ones, four that wait for the daemon. An async context manager.

    `private` names networks that may be reached.

    The process (9 MB) starts with the first call, or when it is warmed, and is started anew where it ended.
    """

    def __init__(self, private: Sequence[str] = ()) -> None:
        self._private = tuple(private)
        self._slots, self._quick = anyio.Semaphore(_AT_ONCE), anyio.Semaphore(_QUICK_AT_ONCE)
        self._waiting = anyio.Semaphore(_WAITING_AT_ONCE)
        self._starting = anyio.Lock()
        self._endings: dict[int, _Ending] = {}
        self._count = 0
        self._control: socket.socket | None = None
        self._process: Process | None = None
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks, self._tasks = self._tasks, None
        with anyio.CancelScope(shield=True):
            await self._end()
        if tasks is not None:
            tasks.cancel_scope.cancel()
            # Not handed the error: it would come out wrapped in an exception group.
            await tasks.__aexit__(None, None, None)

    @property
    def pid(self) -> int | None:
        """The process that forks; None where none runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    def warm(self, *modules: str) -> None:
        """Start the process in the background, and have it import these modules of ours."""

        async def start() -> None:
            with suppress(ToolRefused, OSError):  # the first call says what is wrong
                (await self._ready()).send(json.dumps({"import": modules}).encode())

        if self._tasks is not None:
            self._tasks.start_soon(start)

    def sandboxed(self, box: Box, limits: Limits) -> Run:
        """A tool's function that runs in the sandbox."""

        async def run(arguments: Mapping[str, Value], _caller: Caller) -> Told:
            return await self.run(box, arguments, limits)

        return run

    async def run(
        self, box: Box, arguments: Mapping[str, Value], limits: Limits, errands: Errands | None = None
    ) -> Told:
        """One call. Raises `ToolRefused` where it fails or takes too long, `InputError` where it says that the
        arguments are wrong, and what `errands` raises; cancelling ends the child at once.
        """
        async with self._quick if box.quick else self._waiting if box.waits else self._slots:
            control = await self._ready()
            self._count += 1
            number = self._count
            ending = self._endings[number] = _Ending()
            try:
                return await self._call(control, number, box, arguments, limits, ending, errands)
            finally:
                if not ending.known.is_set():
                    with suppress(OSError):
                        control.send(json.dumps({"kill": number}).encode())
                    with anyio.CancelScope(shield=True), anyio.move_on_after(_ENDS_S):
                        await ending.known.wait()
                self._endings.pop(number, None)

    async def _call(
        self,
        control: socket.socket,
        number: int,
        box: Box,
        arguments: Mapping[str, Value],
        limits: Limits,
        ending: _Ending,
        errands: Errands | None,
    ) -> Told:
        argv = [] if box.argv_of is None else list(box.argv_of(arguments))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reading, writing = os.pipe() if argv else (-1, -1)
        with ours:
            ours.setblocking(False)
            try:
                job = json.dumps(_job(number, box, arguments, argv, limits)).encode()
                socket.send_fds(control, [job], [theirs.fileno(), *([writing] if argv else [])])
            except OSError as error:
                if argv:
                    os.close(reading)
                raise ToolRefused("the process that runs tools is gone: call it again") from error
            finally:
                theirs.close()
                if argv:
                    os.close(writing)
            if not argv:
                return await self._answer(ours, box, ending, errands)
            try:
                return await self._output(ours, reading, limits, ending)
            finally:
                os.close(reading)

    async def _answer(self, channel: socket.socket, box: Box, ending: _Ending, errands: Errands | None) -> Told:
        """What the child says; connections and errands that it asks for are seen to meanwhile."""
        dials = 0
        while message := await _receive(channel):
            if "dial" in message and dials < _MOST_TRIED:
                dials += 1
                await self._dial(channel, message["dial"], box if dials <= _MOST_DIALS else Box())
            elif "errand" in message and errands is not None:
                _reply(channel, await errands(message["errand"]))
            elif "answer" in message:
                return _told(message["answer"])
            elif "errand" in message or "dial" in message:
                raise ToolRefused("the tool asked for what it may not, or for too much, and was ended")
            else:
                raise _failed(message)
        raise await _ended(ending)

    async def _dial(self, channel: socket.socket, wanted: Any, box: Box) -> None:
        try:
            host, port = str(wanted[0]), int(wanted[1])
            made = await dial(host, port, box.hosts, self._private)
        except (ToolRefused, ValueError, TypeError, IndexError, KeyError) as error:
            _reply(channel, json.dumps({"error": str(error)}).encode())
            return
        with made:
            _reply(channel, b"{}", made.fileno())

    async def _output(self, channel: socket.socket, reading: int, limits: Limits, ending: _Ending) -> Told:
        """What a program prints, and how it ended."""
        if message := await _receive(channel):
            raise _failed(message)
        os.set_blocking(reading, False)
        printed = b""
        while True:
            await anyio.wait_readable(reading)
            piece = os.read(reading, 65_536)
            if not piece:
                break
            printed = (printed + piece)[: limits.answer_characters * 4]  # what is beyond that nobody reads
        await ending.known.wait()
        if ending.code and ending.code < 0:
            raise await _ended(ending)
        text = printed.decode("utf-8", "replace").strip()
        return Told(text or "it printed nothing", data={"code": ending.code})

    # The process

    async def _ready(self) -> socket.socket:
        async with self._starting:
            if self._control is None:
                try:
                    sandbox.require()
                except EngineError as error:
                    raise ToolRefused(str(error)) from error
                self._control = await self._start()
        return self._control

    async def _start(self) -> socket.socket:
        if self._tasks is None:
            raise ToolRefused("tools cannot run here: this process does not keep any")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path.startswith("/"))
        with theirs:
            self._process = await anyio.open_process(
                [sys.executable, "-P", "-m", "perslm_daemon.tool_server", str(theirs.fileno())],
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=DEVNULL,
                cwd="/",
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a Ctrl-C in a terminal ends calls in order, not at once
            )
        log.info("tool_server started")
        self._tasks.start_soon(self._listen, ours)
        return ours

    async def _listen(self, control: socket.socket) -> None:
        """Hear how children end; when the process is gone, so are they."""
        try:
            while message := await _receive(control):
                ending = self._endings.get(message["id"])
                if ending is not None:
                    ending.code, ending.killed = message["code"], message["killed"]
                    ending.known.set()
        finally:
            if self._control is control:
                self._control = None
            control.close()
            for ending in self._endings.values():
                ending.known.set()

    async def _end(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.shutdown(socket.SHUT_RDWR)  # `_listen` hears that too, and closes it
        if self._process is not None:
            with anyio.move_on_after(_ENDS_S):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()


def _job(
    number: int, box: Box, arguments: Mapping[str, Value], argv: Sequence[str], limits: Limits
) -> dict[str, Any]:
    return {
        "id": number,
        "entry": box.entry,
        "arguments": dict(arguments),
        "argv": list(argv),
        "dials": bool(box.hosts),
        "preload": box.preload,
        "policy": {
            "folder": None if box.folder is None else str(box.folder),
            "writes": box.writes,
            "readable": [str(path) for path in box.readable],
            "program": argv[0] if argv else None,
            "memory_mb": limits.memory_mb,
            "seconds": limits.seconds,
        },
    }


def _reply(channel: socket.socket, data: bytes, *handles: int) -> None:
    """Answer a child. One that is gone, or reads none of its answers, has its call ended."""
    try:
        socket.send_fds(channel, [data], handles)
    except OSError as error:
        raise ToolRefused(f"the tool takes no answer ({error.strerror}) and was ended") from error


async def _receive(channel: socket.socket) -> dict[str, Any]:
    """The next message; {} where the other side is gone."""
    await anyio.wait_readable(channel)
    try:
        data = channel.recv(MOST_MESSAGE_BYTES)
        message = json.loads(data) if data else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}


def _told(answer: Any) -> Told:
    """An answer of a child, which is as little trusted as any text."""
    if not isinstance(answer, Mapping) or not isinstance(answer.get("text"), str):
        raise ToolRefused("the tool answered with something that is no text")
    data = answer.get("data")
    return Told(answer["text"], str(answer.get("source", ""))[:200], data if isinstance(data, Mapping) else {})


def _failed(message: Mapping[str, Any]) -> PersLMError:
    """What a child says went wrong; of an error that is no sentence only its name."""
    told, kind = message.get("error"), str(message.get("kind", ""))[:60]
    if isinstance(told, str) and told:
        return InputError(told[:500]) if kind == InputError.__name__ else ToolRefused(told[:500])
    return ToolRefused(f"the tool failed: {_NAMED.get(kind, f'this is a bug in it ({kind})')}")


async def _ended(ending: _Ending) -> ToolRefused:
    """The error for a child that ended without an answer."""
    with anyio.move_on_after(_ENDS_S):
        await ending.known.wait()
    if ending.killed:
        return ToolRefused("the tool took too long and was ended")
    code = ending.code
    why = _WHY.get(signal.Signals(-code), f"signal {-code}") if code and code < 0 else "it said nothing"
    return ToolRefused(f"the tool ended without an answer: {why}")
