"""What the running daemon has to say of itself: current values, and events as they happen.

Parts post, adapters (MQTT, Home Assistant, the control socket) listen; neither knows the other. A value is kept
and given to whoever listens later (on MQTT it is a retained topic of that name); an event is told once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import ObjectReceiveStream
from anyio.streams.memory import MemoryObjectSendStream

_WAITING = 256  # notices a slow listener may be behind; then it loses the oldest events, never a value


@dataclass(frozen=True, slots=True)
class Value:
    """The current value of `name` ("state", "info", "health", "volume", ...): text, number, bool or an object."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened: `event_type` and what belongs to it; told once."""

    event_type: str
    fields: Mapping[str, Any]


Notice = Value | Happening


class Bulletin:
    """Values and events of the daemon. Used in the event loop only; posting never waits."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._listeners: list[MemoryObjectSendStream[Notice]] = []

    def post(self, name: str, value: Any) -> None:
        """Set a value; listeners hear of it when it is another than before."""
        if name in self._values and self._values[name] == value:
            return
        self._values[name] = value
        self._tell(Value(name, value))

    def tell(self, event_type: str, **fields: Any) -> None:
        """Tell an event to whoever listens now."""
        self._tell(Happening(event_type, fields))

    def current(self) -> dict[str, Any]:
        """All values by name."""
        return dict(self._values)

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[ObjectReceiveStream[Notice]]:
        """A stream of notices, beginning with every current value.

        A listener that falls too far behind loses notices; it can read `current` again whenever it likes.
        """
        sender, receiver = anyio.create_memory_object_stream[Notice](_WAITING)
        for name, value in self._values.items():
            sender.send_nowait(Value(name, value))
        self._listeners.append(sender)
        try:
            async with receiver:
                yield receiver
        finally:
            self._listeners.remove(sender)
            sender.close()

    def _tell(self, notice: Notice) -> None:
        for listener in self._listeners:
            try:
                listener.send_nowait(notice)
            except anyio.WouldBlock:
                continue
