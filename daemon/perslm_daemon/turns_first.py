"""Turns go first: work in the background lets go of the machine while one runs, and waits for quiet.

Knows the daemon's activity as it is told of it, no engine. A thread asks between two pieces of its work (`hold`);
a process of our own is stopped in its tracks for as long as a turn lasts (`give_way`).
"""

from __future__ import annotations

import math
import signal
import time
from contextlib import suppress

import anyio
from anyio.abc import Process

from perslm_runtime.lane import Stop

_LONGEST_HOLD_S = 30.0  # a house that never stops talking has its models updated as well
_LOOK_S = 0.01
_WORKS_S = 1.0


class TurnsFirst:
    """Who runs in the background asks here. `quiet_s` is how long nobody has to have asked for `idle`."""

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._busy = False
        self._last_turn = -math.inf
        self._changed = anyio.Event()

    def activity(self, activity: str) -> None:
        """The daemon's activity is another: "idle", or what it does for somebody."""
        busy = activity != "idle"
        if busy == self._busy:
            return
        self._busy = busy
        if not busy:
            self._last_turn = anyio.current_time()
        self._changed.set()
        self._changed = anyio.Event()

    async def idle(self, at_least_s: float = 0.0) -> None:
        """Wait until nobody has asked anything for a moment, or for longer where it has to be quieter."""
        quiet_s = max(self._quiet_s, at_least_s)
        while True:
            if self._busy:
                await self._changed.wait()
                continue
            left_s = self._last_turn + quiet_s - anyio.current_time()
            if left_s <= 0:
                return
            with anyio.move_on_after(left_s):
                await self._changed.wait()

    def hold(self, stop: Stop) -> None:
        """In a thread: wait while a turn runs, at most half a minute. Raises `Cancelled` when told to stop."""
        until = time.monotonic() + _LONGEST_HOLD_S
        while self._busy and time.monotonic() < until:
            stop.check()
            time.sleep(_LOOK_S)

    async def give_way(self, process: Process) -> None:
        """Stop a process of ours while a turn runs, until cancelled; then it goes on."""
        try:
            while True:
                while not self._busy:
                    await self._changed.wait()
                _signal(process, signal.SIGSTOP)
                with anyio.move_on_after(_LONGEST_HOLD_S):
                    while self._busy:
                        await self._changed.wait()
                _signal(process, signal.SIGCONT)
                if self._busy:
                    await anyio.sleep(_WORKS_S)
        finally:
            _signal(process, signal.SIGCONT)


def _signal(process: Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)
