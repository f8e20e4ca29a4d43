"""What the running daemon has to say of itself: current values, and events as they happen.

Parts post, adapters (MQTT, Home Assistant, the control socket) listen; neither knows the other. A value is kept
and given to whoever listens later (on MQTT it is a retained topic of that name); an event is told once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import anyio

_MOST_EVENTS = 256  # that a slow listener may be behind: then it loses the oldest, never a value's last state


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


class Listener:
    """Notices for one listener, in order. A value that changes while it waits is given once, as it is by then.

    So a listener that is behind has one notice per value before it and at most 256 events; of events it then loses
    the oldest, and is told how many.
    """

    def __init__(self) -> None:
        self._order: deque[str | Happening] = deque()
        self._values: dict[str, Any] = {}
        self._events = 0
        self._lost = 0
        self._news = anyio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notice:
        return await self.receive()

    async def receive(self) -> Notice:
        """Wait for the next notice; cancelling loses none."""
        while not self._order and not self._lost:
            self._news = anyio.Event()
            await self._news.wait()
        return self.receive_nowait()

    def receive_nowait(self) -> Notice:
        """The next notice; raises `anyio.WouldBlock` where none waits."""
        if self._lost:
            lost, self._lost = self._lost, 0
            return Happening("warning", {"what": "lost", "message": f"{lost} events came too fast and are lost"})
        if not self._order:
            raise anyio.WouldBlock
        first = self._order.popleft()
        if isinstance(first, str):
            return Value(first, self._values.pop(first))
        self._events -= 1
        return first

    def put(self, notice: Notice) -> None:
        """Let it wait."""
        if isinstance(notice, Value):
            if notice.name not in self._values:
                self._order.append(notice.name)
            self._values[notice.name] = notice.value
        else:
            if self._events == _MOST_EVENTS:
                self._order.remove(next(one for one in self._order if isinstance(one, Happening)))
                self._events -= 1
                self._lost += 1
            self._order.append(notice)
            self._events += 1
        self._news.set()


class Bulletin:
    """Values and events of the daemon. Used in the event loop only; posting never waits."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._listeners: list[Listener] = []

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
    async def listen(self) -> AsyncIterator[Listener]:
        """Notices from now on, beginning with every current value."""
        listener = Listener()
        for name, value in self._values.items():
            listener.put(Value(name, value))
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)

    def _tell(self, notice: Notice) -> None:
        for listener in self._listeners:
            listener.put(notice)
