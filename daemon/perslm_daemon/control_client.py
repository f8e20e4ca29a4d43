"""The command line's end of the control socket: finds a running PersLM and asks it.

Standard library only and quick to import: `perslm ask` against a running daemon starts no engine and no numpy.
docs/control.md has the protocol.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from perslm_runtime import errors
from perslm_runtime.errors import BusyError, PersLMError

SOCKET_NAME = "control.sock"
"""The socket's name in the data folder."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Longest line or frame that is taken from a daemon: far above the largest metrics page or memory list."""

_GREETING_S = 5.0  # a daemon's loop answers in a millisecond; a board that swaps takes seconds

Event = Mapping[str, Any]


class NotRunningError(PersLMError):
    """No PersLM runs with this data folder, or it ended before it answered."""


class RefusedError(PersLMError):
    """The daemon answered with an error that has no class of its own here."""


class Connection:
    """One conversation with a running PersLM, asked one request at a time; a context manager.

    `greeting` tells who answers: perslm (its version), pid, node, hears, speaks.
    """

    def __init__(self, connected: socket.socket, greeting: Mapping[str, Any], stream: BinaryIO) -> None:
        self.greeting = greeting
        self.answer: dict[str, Any] = {}
        self.open = True
        self._socket = connected
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, from any thread: what is being asked is cancelled, and remembered as interrupted."""
        self.open = False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes whoever reads
        self._stream.close()
        self._socket.close()

    def events(
        self, verb: str, payload: object = None, sound: bytes | None = None
    ) -> Iterator[tuple[Event, bytes]]:
        """Ask; yield each event with its frame (b"" where it has none). After the last, `answer` is the data.

        `sound` is 16 kHz 16-bit mono PCM. Raises the daemon's error, and `NotRunningError` when it hangs up.
        """
        request: dict[str, object] = {"verb": verb}
        if payload is not None:
            request["payload"] = payload
        if sound is not None:
            request["bytes"] = len(sound)
        with suppress(BrokenPipeError, ConnectionResetError):  # its last words, if any, are still to be read
            self._socket.sendall(json.dumps(request).encode() + b"\n" + (sound or b""))
        kind = ""
        while True:
            line = self._line()
            if "status" in line:
                self.answer = _data(line, kind)
                return
            if line.get("event") == "refused":
                kind = str(line.get("kind"))
                continue
            yield line, self._frame(line)

    def ask(
        self,
        verb: str,
        payload: object = None,
        *,
        sound: bytes | None = None,
        on_event: Callable[[Event, bytes], None] | None = None,
    ) -> dict[str, Any]:
        """Ask, hand every event to `on_event`, and return the answer's data. Raises as `events` does."""
        for event, frame in self.events(verb, payload, sound):
            if on_event is not None:
                on_event(event, frame)
        return self.answer

    def _line(self) -> dict[str, Any]:
        try:
            return _read_line(self._stream)
        except (OSError, ValueError) as error:
            raise NotRunningError("PersLM ended before it answered: start it again with `perslm run`") from error

    def _frame(self, event: Event) -> bytes:
        size = event.get("bytes", 0)
        if not isinstance(size, int) or not 0 <= size <= MAX_ANSWER_BYTES:
            raise RefusedError(f"PersLM announced a frame of {size!r} bytes: use the same version on both sides")
        frame = self._stream.read(size) if size else b""
        if len(frame) < size:
            raise NotRunningError("PersLM ended before it had sent its sound: start it again with `perslm run`")
        return frame


def connect(data_dir: Path, greeting_s: float = _GREETING_S) -> Connection | None:
    """The PersLM that runs with this data folder, or None when there is none.

    Raises `BusyError` when it takes no more connections, and `NotRunningError` when something holds the socket
    and does not answer within `greeting_s`.
    """
    path = data_dir / SOCKET_NAME
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connected.settimeout(greeting_s)
    try:
        connected.connect(str(path))
    except PermissionError as error:
        connected.close()
        raise NotRunningError(f"{path} belongs to another user: run this as that user") from error
    except OSError:  # no file, no process behind it, or a path too long for any daemon to have it
        connected.close()
        return None
    stream = connected.makefile("rb")
    try:
        greeting = _read_line(stream)
        connected.settimeout(None)
    except (OSError, ValueError) as error:
        stream.close()
        connected.close()
        raise NotRunningError(
            f"what listens at {path} does not answer: stop PersLM and start it again, or add --local"
        ) from error
    if "status" in greeting:
        stream.close()
        connected.close()
        raise BusyError(str(greeting.get("error")))
    return Connection(connected, greeting, stream)


def _read_line(stream: BinaryIO) -> dict[str, Any]:
    """One JSON object. Raises ValueError for anything else, the end of the stream included."""
    line = stream.readline(MAX_ANSWER_BYTES)
    told = json.loads(line) if line.endswith(b"\n") else None
    if not isinstance(told, dict):
        raise ValueError("no line of JSON")
    return told


def _data(response: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The data of an answer; an error is raised as the class it had in the daemon, so that exit codes agree."""
    if response["status"] == "ok":
        return dict(response["data"])
    wanted = getattr(errors, kind, None)
    known = isinstance(wanted, type) and issubclass(wanted, PersLMError)
    raise (wanted if known else RefusedError)(str(response.get("error")))  # type: ignore[misc]  # a class of errors.py
