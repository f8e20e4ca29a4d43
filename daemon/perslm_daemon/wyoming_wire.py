"""Wyoming's events on a socket: the only importer of the wyoming package, which gives their names and forms.

The package's own reader trusts what it is told: it waits for whatever length a header claims. Frames are read
here, with a limit for each length and a deadline for each frame; memory grows with what has come, never with what
was promised. Knows no service.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.handle import Handled, HandledChunk, HandledStart, HandledStop, NotHandled
from wyoming.info import (
    AsrModel,
    AsrProgram,
    Attribution,
    Describe,
    HandleModel,
    HandleProgram,
    Info,
    TtsProgram,
    TtsVoice,
)
from wyoming.ping import Ping, Pong
from wyoming.pipeline import PipelineStage, RunPipeline
from wyoming.satellite import PauseSatellite, RunSatellite
from wyoming.snd import Played
from wyoming.timer import TimerCancelled, TimerFinished, TimerStarted, TimerUpdated
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
)
from wyoming.vad import VoiceStarted, VoiceStopped
from wyoming.version import __version__ as protocol_version
from wyoming.wake import Detect, Detection

from perslm_daemon.outbox import BEHIND_BYTES, SEND_S, Outbox
from perslm_runtime.audio import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from perslm_runtime.errors import InputError

__all__ = [
    "AsrModel",
    "AsrProgram",
    "Attribution",
    "AudioChunk",
    "AudioStart",
    "AudioStop",
    "Describe",
    "Detect",
    "Detection",
    "Error",
    "Event",
    "Eventable",
    "HandleModel",
    "HandleProgram",
    "Handled",
    "HandledChunk",
    "HandledStart",
    "HandledStop",
    "Info",
    "LostError",
    "NotHandled",
    "PauseSatellite",
    "Ping",
    "PipelineStage",
    "Played",
    "Pong",
    "RunPipeline",
    "RunSatellite",
    "Synthesize",
    "SynthesizeChunk",
    "SynthesizeStart",
    "SynthesizeStop",
    "SynthesizeStopped",
    "TimerCancelled",
    "TimerFinished",
    "TimerStarted",
    "TimerUpdated",
    "Transcribe",
    "Transcript",
    "TtsProgram",
    "TtsVoice",
    "VoiceStarted",
    "VoiceStopped",
    "Wire",
    "parsed",
    "sound_format",
    "text_in",
]

MAX_HEADER_BYTES = 256 * 1024
"""Longest header line, and longest data after it."""

MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
"""Longest payload of one event: two minutes of sound at 16 kHz in a single piece."""

FRAME_S = 30.0
"""From the first byte of an event to its last."""

MAX_TEXT_CHARS = 64 * 1024

_RECEIVE_BYTES = 65_536
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))

T = TypeVar("T")


class LostError(Exception):
    """What the other side sends can no longer be told apart into events; it is told why and disconnected."""


class Wire:
    """One connection: whole events in, and out what is put, as fast as the other side reads.

    `scope` is cancelled when the other side is cut off for reading too slowly. Run `out.write` beside.
    """

    def __init__(
        self,
        connected: socket.socket,
        scope: anyio.CancelScope,
        *,
        send_s: float = SEND_S,
        behind_bytes: int = BEHIND_BYTES,
    ) -> None:
        self._socket = connected
        self._buffer = bytearray()
        self.out = Outbox(connected, scope, send_s=send_s, behind_bytes=behind_bytes)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:  # who vanished without a word is found out after less than a minute
            connected.setsockopt(socket.IPPROTO_TCP, option, value)

    def put(self, event: Event | Eventable) -> None:
        """Put an event for the writer; never waits."""
        self.out.put(encoded(event if isinstance(event, Event) else event.event()))

    async def begun(self) -> bool:
        """Wait until an event begins; False when none will."""
        return bool(self._buffer) or await self._more()

    async def event(self) -> Event | None:
        """The next event, None when there is none. Raises `LostError` for what is none, too long or too late."""
        if not await self.begun():
            return None
        with anyio.move_on_after(FRAME_S):
            return await self._frame()
        raise LostError(f"the event was not finished within {FRAME_S:.0f} s")

    async def _frame(self) -> Event | None:
        line = await self._line()
        if line is None:
            return None
        header = _object(line, "the header")
        kind, data = header.get("type"), header.get("data")
        if not isinstance(kind, str):
            raise LostError("the header names no type")
        data = data if isinstance(data, dict) else {}
        if size := _length(header, "data_length", MAX_HEADER_BYTES):
            more = await self._exactly(size)
            if more is None:
                return None
            data.update(_object(more, "the data"))
        payload: bytes | None = None
        if size := _length(header, "payload_length", MAX_PAYLOAD_BYTES):
            payload = await self._exactly(size)
            if payload is None:
                return None
        return Event(kind, data, payload)

    async def _line(self) -> bytes | None:
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0 and len(self._buffer) <= MAX_HEADER_BYTES:
            seen = len(self._buffer)
            if not await self._more():
                return None
        if end < 0 or end > MAX_HEADER_BYTES:
            raise LostError(f"the header has more than {MAX_HEADER_BYTES} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            if not await self._more():
                return None
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _more(self) -> bool:
        try:
            received = await asyncio.get_running_loop().sock_recv(self._socket, _RECEIVE_BYTES)
        except OSError:
            return False
        self._buffer += received
        # What is there already is given without a pause: a client that sends and sends would have the loop alone.
        await anyio.lowlevel.checkpoint()
        return bool(received)


def encoded(event: Event) -> bytes:
    """An event as it goes over the wire."""
    data = json.dumps(event.data, ensure_ascii=False).encode("utf-8", "replace") if event.data else b""
    payload = event.payload or b""
    header: dict[str, Any] = {"type": event.type, "version": protocol_version}
    if data:
        header["data_length"] = len(data)
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + data + payload


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LostError(f"{what} is no JSON: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise LostError(f"{what} is no JSON object")
    return found


def _length(header: dict[str, Any], name: str, most: int) -> int:
    size = header.get(name)
    if size is None:
        return 0
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= most:
        raise LostError(f"{name} has to be a whole number from 0 to {most}")
    return size


def parsed(form: Callable[[Event], T], event: Event) -> T:
    """The event in its form: `parsed(RunPipeline.from_event, event)`. Raises `InputError` where it fits none."""
    try:
        return form(event)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{event.type[:40]} is not as Wyoming has it: {error!r}") from error


def text_in(event: Event) -> str:
    """The event's `text`. Raises `InputError` where there is none or it is longer than can be read."""
    text = event.data.get("text")
    if not isinstance(text, str):
        raise InputError(f"{event.type[:40]} has no text")
    if len(text) > MAX_TEXT_CHARS:
        raise InputError(f"the text has {len(text)} characters and at most {MAX_TEXT_CHARS} are read")
    return text


def sound_format(event: Event) -> tuple[int, int, int]:
    """(rate_hz, width, channels) of an audio event. Raises `InputError` for sound that no recorder makes."""
    found = tuple(event.data.get(name) for name in ("rate", "width", "channels"))
    rate, width, channels = (value if type(value) is int else 0 for value in found)
    if not (LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ and 1 <= width <= 4 and 1 <= channels <= 8):
        raise InputError(
            f"sound of rate {found[0]!r:.20}, width {found[1]!r:.20}, channels {found[2]!r:.20} cannot be used: "
            f"send {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, 1 to 4 bytes, 1 to 8 channels"
        )
    return rate, width, channels
