"""The process of a plug-in, from the daemon's side: started when needed, asked, ended when it rests or fails.

An engine for a lane. Each question has its seconds; a process that lets them pass, that ends or that answers
nonsense is killed with all it started, and the next question starts another. Knows no configuration and no tool.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from perslm_daemon import plugin_wire as wire
from perslm_daemon.dialling import allowed_address
from perslm_daemon.near import is_near
from perslm_runtime.errors import PluginFailed, PluginRefused
from perslm_runtime.lane import Stop

log = logging.getLogger("perslm.plugins")

BEGIN_S = 60.0
"""How long a plug-in may take to be imported: icalendar takes 0.3 s on a PC, many seconds from a worn SD card."""

_LOOK_S = 0.05
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # of our environment
PROGRAM = ("-P", "-m", "perslm_daemon.plugin_child")

_MOST_DIAL_BYTES, _DIAL_S = 4096, 10.0
_HALT_S = 2.0  # for a reply that nobody wants any more to end; a plug-in that is slower is started anew


class _Dial(msgspec.Struct, frozen=True):
    """What a plug-in's process asks for a connection with (tool_world.py)."""

    dial: tuple[str, int]


SaidT = TypeVar("SaidT", bound=msgspec.Struct)
KeptT = TypeVar("KeptT")


@dataclass(frozen=True, slots=True)
class Spec:
    """What is started: an entry point of a group, a folder of its own, its settings (secrets included)."""

    name: str
    group: str
    target: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hosts: tuple[str, ...] = ()
    """The machines it may reach, HOST:PORT each."""
    private: tuple[str, ...] = ()
    """Networks of the house in which a machine with a public name may lie."""
    readable: tuple[str, ...] = ()
    memory_mb: int = 256
    traces: bool = False
    """Say where the plug-in's errors come from; for its author, never in the daemon: a trace may hold words."""
    paths: tuple[str, ...] = ()
    """Where modules are looked for besides: a plug-in under test is not installed."""
    program: Sequence[str] = PROGRAM


class PluginProcess:
    """A plug-in's process. One thread only."""

    file = None

    def __init__(self, spec: Spec) -> None:
        self.name, self._spec = spec.name, spec
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._shape: wire.Shape | None = None
        self._used_at = time.monotonic()
        self.started = 0
        """How many processes there have been."""

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return None if self._child is None else self._child.pid

    def shape(self, stop: Stop) -> wire.Shape:
        """What the plug-in brings. Raises `PluginRefused`, which says why it cannot be used."""
        self._ready(stop)
        if self._shape is None:
            raise PluginRefused(f"the plug-in {self.name} did not say what it brings")
        return self._shape

    def ask(self, stop: Stop, asked: wire.Asked, want: type[SaidT], seconds: float) -> SaidT:
        """Ask, and return the answer. Raises `PluginRefused`: what is wrong, or that it failed."""
        self._ready(stop)
        said = self._asked(stop, asked, seconds)
        self._used_at = time.monotonic()
        return self._required(said, want)

    def stream(self, stop: Stop, asked: wire.Asked, seconds: float) -> Generator[str, None, None]:
        """Ask for a reply: its pieces, each within `seconds`. Leaving it early has the plug-in stop at its next
        piece, or ended where it has none within a moment. Raises as `ask`, and `Cancelled`.
        """
        self._ready(stop)
        said = self._asked(stop, asked, seconds)
        ended = False
        try:
            while isinstance(said, wire.Piece):
                yield said.text
                stop.check()
                said = self._heard(stop, time.monotonic() + seconds, seconds)
            ended = True
        finally:
            self._used_at = time.monotonic()
            if not ended:
                self._halt()
        if not isinstance(said, wire.Replied):
            self._required(said, wire.Replied)

    def _halt(self) -> None:
        """Have a reply that nobody wants any more ended."""
        if self._child is None:
            return
        deadline = time.monotonic() + _HALT_S
        with suppress(PluginRefused):
            said = self._asked(Stop(), wire.Halt(), _HALT_S)
            while isinstance(said, wire.Piece):
                said = self._heard(Stop(), deadline, _HALT_S)

    def _required(self, said: wire.Said, want: type[SaidT]) -> SaidT:
        """An answer of the kind that was asked for."""
        if isinstance(said, wire.Wrong):
            if said.ends:
                self.close()
            if said.told:
                raise PluginRefused(said.text)
            raise PluginFailed(f"the plug-in {self.name} failed ({said.text})")
        if not isinstance(said, want):
            self.close()
            raise PluginFailed(f"the plug-in {self.name} answered something else than it was asked")
        return said

    def rest(self, _stop: Stop, idle_s: float) -> None:
        """End the process where nothing was asked of it for `idle_s` seconds."""
        if self._child is not None and time.monotonic() - self._used_at > idle_s:
            self.close()

    def close(self) -> None:
        """End the process, and what it started."""
        child, self._child = self._child, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if child is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        child.wait()

    def _ready(self, stop: Stop) -> None:
        if self._child is not None and self._child.poll() is None:
            return
        self.close()
        self._start()
        spec = self._spec
        begin = wire.Begin(
            spec.group,
            spec.name,
            spec.target,
            str(spec.folder),
            dict(spec.settings),
            spec.memory_mb,
            bool(spec.hosts),
            spec.readable,
            spec.traces,
        )
        said = self._asked(stop, begin, BEGIN_S)
        self._used_at = time.monotonic()
        if isinstance(said, wire.Shape):
            self._shape = said
            return
        self.close()
        why = said.text if isinstance(said, wire.Wrong) else "it does not say what it brings"
        raise PluginRefused(f"the plug-in {self.name} cannot be used: {why}")

    def _start(self) -> None:
        folder = self._spec.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        if self._spec.paths:
            environment["PYTHONPATH"] = os.pathsep.join(self._spec.paths)
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._child = subprocess.Popen(
                [sys.executable, *self._spec.program, str(theirs.fileno())],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={**environment, "HOME": str(folder)},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError as error:
            raise PluginRefused(f"the plug-in {self.name} cannot be started: {error.strerror}") from error
        finally:
            theirs.close()
        self.started += 1
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)

    def _asked(self, stop: Stop, asked: wire.Asked, seconds: float) -> wire.Said:
        """One question and its answer; the process is killed where none comes in time."""
        deadline = time.monotonic() + seconds
        self._kept(lambda: self._write(stop, wire.frame(asked), deadline), seconds)
        return self._heard(stop, deadline, seconds)

    def _heard(self, stop: Stop, deadline: float, seconds: float) -> wire.Said:
        """What the process says next."""

        def read() -> wire.Said:
            length = wire.length_of(self._read(stop, 4, deadline))
            return wire.said_of(self._read(stop, length, deadline))

        return self._kept(read, seconds)

    def _kept(self, work: Callable[[], KeptT], seconds: float) -> KeptT:
        """Do a part of a question; the process is killed where that does not come to its end."""
        done = False
        try:
            result = work()
            done = True
            return result
        except TimeoutError:
            raise PluginFailed(
                f"the plug-in {self.name} took longer than {seconds:g} seconds and was ended"
            ) from None
        except (OSError, EOFError, ValueError, msgspec.DecodeError) as error:
            raise PluginFailed(f"the plug-in {self.name} failed and was ended ({type(error).__name__})") from error
        finally:
            if not done:
                self.close()

    def _write(self, stop: Stop, data: bytes, deadline: float) -> None:
        pipe = self._pipe("stdin")
        rest = memoryview(data)
        while rest:
            self._wait(pipe, selectors.EVENT_WRITE, stop, deadline)
            with suppress(BlockingIOError):
                rest = rest[os.write(pipe, rest) :]

    def _read(self, stop: Stop, length: int, deadline: float) -> bytes:
        pipe = self._pipe("stdout")
        parts: list[bytes] = []
        while length:
            self._wait(pipe, selectors.EVENT_READ, stop, deadline)
            part = os.read(pipe, min(length, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _wait(self, pipe: int, event: int, stop: Stop, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if self._channel is not None:
                selector.register(self._channel, selectors.EVENT_READ)
            while True:
                found = [key.fileobj for key, _ in selector.select(_LOOK_S)]
                if (
                    self._channel is not None
                    and self._channel in found
                    and not self._dial(self._channel, deadline)
                ):
                    selector.unregister(self._channel)
                if pipe in found:
                    return
                stop.check()
                if time.monotonic() > deadline:
                    raise TimeoutError

    def _dial(self, channel: socket.socket, deadline: float) -> bool:
        """Open the connection that the plug-in asks for, where it may; False when the plug-in is gone."""
        asked = channel.recv(_MOST_DIAL_BYTES)
        if not asked:
            return False
        try:
            host, port = msgspec.json.decode(asked, type=_Dial).dial
        except msgspec.DecodeError:
            return True
        try:
            with _connected(self._spec, host, port, min(_DIAL_S, max(0.1, deadline - time.monotonic()))) as opened:
                socket.send_fds(channel, [b"{}"], [opened.fileno()])
        except PluginRefused as error:
            log.warning("plugin=%s dial_refused port=%d", self.name, port)
            channel.send(msgspec.json.encode({"error": str(error)}))
        except OSError as error:
            channel.send(msgspec.json.encode({"error": f"{host[:80]} cannot be reached ({_why(error)})"}))
        return True

    def _pipe(self, name: str) -> int:
        pipe = None if self._child is None else getattr(self._child, name)
        if pipe is None:
            raise EOFError
        return int(pipe.fileno())


def _connected(spec: Spec, host: str, port: int, seconds: float) -> socket.socket:
    """A connection to a machine that the settings name, at a judged address. Raises `PluginRefused`."""
    if not {f"[{host}]:{port}", f"{host}:{port}"} & {*spec.hosts}:
        raise PluginRefused(f"the plug-in {spec.name} may not reach {host[:80]}: its settings name it nowhere")
    trouble: OSError = ConnectionRefusedError("nothing was tried")
    refused = True
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[:4]:
        if not is_near(host) and not allowed_address(str(address[0]), host, spec.private):
            continue
        refused = False
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(seconds)
            made.connect(address)
            made.setblocking(True)
        except OSError as error:
            made.close()
            trouble = error
        else:
            return made
    if refused:
        raise PluginRefused(
            f"{host[:80]} leads to a private address: name its network in tools.private if that is right"
        )
    raise trouble


def _why(error: OSError) -> str:
    return (
        "it did not answer in time" if isinstance(error, TimeoutError) else str(error.strerror or "no such name")
    )
