"""What is done between two turns, which the next turn stops at once. Knows no engine: the work is handed in."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from perslm_runtime.errors import PersLMError

log = logging.getLogger("perslm.pipeline")


class Idling:
    """Runs `first`, then `often`, whenever it is told to `begin`, in the task group of `open`.

    `often` is run again for what came while it ran (`wanted_again`).
    """

    def __init__(self, first: Callable[[], Awaitable[None]], often: Callable[[], Awaitable[None]]) -> None:
        self._first, self._often = first, often
        self._tasks: TaskGroup | None = None
        self._scope: anyio.CancelScope | None = None
        self._done = anyio.Event()
        self._done.set()
        self._again = False

    def open(self, tasks: TaskGroup | None) -> None:
        """Where the work runs from now on; with None nothing begins any more."""
        self._tasks = tasks

    @property
    def at_work(self) -> bool:
        """Whether it runs and was not cancelled."""
        return self._scope is not None

    def wanted_again(self) -> None:
        """There is something new for `often`."""
        self._again = True

    def begin(self) -> None:
        """Start, after what ran before has ended."""
        if self._tasks is not None:
            before, self._done = self._done, anyio.Event()
            scope = self._scope = anyio.CancelScope()
            self._tasks.start_soon(self._work, scope, before, self._done)

    def cancel(self) -> None:
        """Tell it to stop; `stop` also awaits that."""
        if self._scope is not None:
            self._scope.cancel()

    async def stop(self) -> None:
        """End it before the engines are needed."""
        self.cancel()
        if self._tasks is not None:
            await self._done.wait()

    async def _work(self, scope: anyio.CancelScope, before: anyio.Event, done: anyio.Event) -> None:
        try:
            await before.wait()
            with scope:
                await self._first()
                self._again = True
                while self._again:
                    self._again = False
                    await self._often()
        except PersLMError as error:
            log.warning("idle_failed error=%s", type(error).__name__)
        finally:
            if self._scope is scope:
                self._scope = None
            done.set()
