"""Who has the engines: one at a time, two may wait, a third is told "busy". Knows nothing of what they do.

Whoever speaks goes first: before all others that wait, and not refused for them. A holder that can give way is
asked to, and gets the engines back behind those.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio

from perslm_runtime.errors import BusyError

_MOST_WAITING = 2


class TurnQueue:
    """The queue; first come, first served, the first ones before all."""

    def __init__(self) -> None:
        self.taken = False
        """Whether somebody has the engines."""
        self._first, self._others = deque[anyio.Event](), deque[anyio.Event]()
        self._never_refused = 0
        self._giving_way: anyio.CancelScope | None = None

    @property
    def waiting(self) -> int:
        """How many wait for their turn, without those that are never refused."""
        return len(self._first) + len(self._others) - self._never_refused

    async def enter(self, *, first: bool = False) -> None:
        """Wait for the engines; `leave` gives them back. Raises `BusyError` when two wait already."""
        if not self.taken:
            self.taken = True
            return
        if (len(self._first) if first else self.waiting) >= _MOST_WAITING:
            raise BusyError("two questions are already waiting: ask again in a moment")
        if first and self._giving_way is not None:
            self._giving_way.cancel()
        await self._wait(self._first if first else self._others)

    def leave(self) -> None:
        """Give the engines to the next."""
        line = self._first or self._others
        if line:
            line.popleft().set()
        else:
            self.taken = False

    @contextmanager
    def giving_way(self) -> Iterator[anyio.CancelScope]:
        """What the holder does in the block is cancelled when somebody who goes first comes."""
        with anyio.CancelScope() as scope:
            self._giving_way = scope
            if self._first:
                scope.cancel()
            try:
                yield scope
            finally:
                self._giving_way = None

    async def let_pass(self) -> None:
        """Let those who go first have the engines, and get them back before all others."""
        self.leave()
        await self._entered_anyway(at_front=True)

    @asynccontextmanager
    async def patiently(self) -> AsyncIterator[None]:
        """As `enter` and `leave`, for what is never refused."""
        await self._entered_anyway()
        try:
            yield
        finally:
            self.leave()

    async def _entered_anyway(self, *, at_front: bool = False) -> None:
        if not self.taken:
            self.taken = True
            return
        self._never_refused += 1
        try:
            await self._wait(self._others, at_front=at_front)
        finally:
            self._never_refused -= 1

    async def _wait(self, line: deque[anyio.Event], *, at_front: bool = False) -> None:
        turn = anyio.Event()
        (line.appendleft if at_front else line.append)(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # it was given the engines and is cancelled all the same
                self.leave()
            else:
                line.remove(turn)
            raise
