"""Work that needs the memory of an engine: the engine is unloaded for it, and comes back as soon as it is wanted.

Knows no engine and no work. Starts no thread: the lane's own keeps the seat empty meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import anyio
from anyio.lowlevel import current_token

from perslm_runtime.errors import PersLMError
from perslm_runtime.lane import Lane, Stop
from perslm_runtime.lane_job import tell_loop

T = TypeVar("T")

_LOOK_S = 0.05  # how long a job may wait before the work is ended for it


async def while_vacant(lane: Lane[Any], work: Callable[[], Awaitable[T]]) -> T | None:
    """Run `work` while the lane's engine is unloaded; None where a job wanted the engine before it was done.

    Then `work` is cancelled, and the engine is built only once it has ended: the two are never in memory together.
    The engine is not built again by this: the next job does. Raises what `work` raises; cancelling ends both.
    """
    attempt: _Attempt[T] = _Attempt(work)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt.run)
        try:
            await lane.vacate(attempt.hold)
        except PersLMError as error:  # it was given up, or is shutting down
            attempt.failed = error
            tasks.cancel_scope.cancel()
    if attempt.failed is not None:
        raise attempt.failed
    return attempt.result


class _Attempt(Generic[T]):
    """One piece of work, between the loop that does it and the lane's thread that waits for its end."""

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self.result: T | None = None
        self.failed: PersLMError | None = None  # raised outside the group, which would wrap it
        self._work, self._token = work, current_token()
        self._vacant, self._over = anyio.Event(), threading.Event()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """In the loop: work once the engine is gone."""
        try:
            with self._scope:
                await self._vacant.wait()
                self.result = await self._work()
        except PersLMError as error:
            self.failed = error
        finally:
            self._over.set()

    def hold(self, stop: Stop, wanted: Callable[[], bool]) -> None:
        """In the lane's thread: wait for the work's end, and ask for it when somebody wants the engine."""
        tell_loop(self._token, self._vacant.set)
        while not self._over.wait(_LOOK_S):
            if stop or wanted():
                tell_loop(self._token, self._scope.cancel)
