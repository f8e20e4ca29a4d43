"""Who has the engines: one at a time, two may wait, a third is told "busy". Knows nothing of what they do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from perslm_runtime.errors import BusyError

_MOST_WAITING = 2


class TurnQueue:
    """The queue; first come, first served."""

    def __init__(self) -> None:
        self._turn = anyio.Lock()
        self.waiting = 0
        """How many wait to `enter`."""

    @property
    def taken(self) -> bool:
        """Whether somebody has the engines."""
        return self._turn.locked()

    async def enter(self) -> None:
        """Wait for the engines; `leave` gives them back. Raises `BusyError` when two wait already."""
        try:
            self._turn.acquire_nowait()
        except anyio.WouldBlock:
            if self.waiting >= _MOST_WAITING:
                raise BusyError("two questions are already waiting: ask again in a moment") from None
            self.waiting += 1
            try:
                await self._turn.acquire()
            finally:
                self.waiting -= 1

    def leave(self) -> None:
        """Give the engines to the next."""
        self._turn.release()

    @asynccontextmanager
    async def patiently(self) -> AsyncIterator[None]:
        """As `enter` and `leave`, for what is never refused."""
        async with self._turn:
            yield
