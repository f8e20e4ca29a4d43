"""What systemd hears while engines are built: that it goes on, and for how long that may count.

Building an engine is one native call that may take minutes and tells nothing. Meanwhile nobody else speaks to
systemd: at the start it would give up, and after a reload it would miss the sign of life. Knows no engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from perslm_daemon.process import resident_bytes
from perslm_daemon.service import Notifier

EVERY_S = 60.0
LONGEST_S = 1800.0  # an engine of 120 s has to be waited for; fifteen times that is broken


class Patience:
    """Asks for time from `step` to `end`; an async context manager that closes the notifier at its end.

    A step that takes longer than `longest_s` gets no more: then systemd may act as its unit says. No sign of life
    is sent before the first `end`: systemd would expect it every `watchdog_s` from then on, while the start has a
    limit of its own that a starved board needs (loading one voice took it 35 s, one proof 90 s).
    """

    def __init__(
        self,
        notifier: Notifier,
        *,
        every_s: float = EVERY_S,
        longest_s: float = LONGEST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.notifier, self._clock, self._longest_s = notifier, clock, longest_s
        watched = notifier.watchdog_s
        self._every_s = every_s if watched is None else min(every_s, watched / 3)
        self._allow_s = 5 * every_s
        self._status: str | None = None
        self._since = 0.0
        self._watched = False
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._beat)
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            # Not handed the error: it would come out wrapped in an exception group.
            await tasks.__aexit__(None, None, None)
        self.notifier.close()

    def step(self, status: str) -> None:
        """A step begins, and with it the time it may take."""
        self._status, self._since = status, self._clock()
        self.notifier.step(status, self._allow_s)
        self._live()

    def end(self) -> None:
        """All is built: others speak to systemd from now on."""
        self._status = None
        self._watched = self.notifier.watchdog_s is not None

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(self._every_s)
            if self._status is None:
                continue
            held_mb = await anyio.to_thread.run_sync(resident_bytes) / 1e6
            took_s = self._clock() - self._since
            if self._status is None or took_s > self._longest_s:
                continue
            self.notifier.step(f"{self._status} ({took_s:.0f} s, {held_mb:.0f} MB in memory)", self._allow_s)
            self._live()

    def _live(self) -> None:
        """The watchdog too: after a reload nobody else gives the sign of life until the adapters are back."""
        if self._watched:
            self.notifier.alive()
