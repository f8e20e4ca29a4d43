"""The work that one Wyoming client asked for: one job after the other, beside the reading of what it sends next.

So `describe` is answered while a job runs. What goes wrong in a job is an error event, and the connection stays.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from perslm_daemon.wyoming_wire import Error, Wire
from perslm_runtime.errors import BusyError, InputError, PersLMError

log = logging.getLogger("perslm.wyoming")

_MOST_WAITING = 4

Job = Callable[[], Awaitable[None]]


class Places:
    """How many may do something at once, over all clients: who comes beyond that is told "busy"."""

    def __init__(self, most: int, what: str) -> None:
        self._free, self._what = most, what

    def take(self) -> None:
        """Take a place. Raises `BusyError` when there is none."""
        if not self._free:
            raise BusyError(f"too many {self._what} at once: try again in a moment")
        self._free -= 1

    def leave(self) -> None:
        """Give the place back."""
        self._free += 1


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    places: Places | None

    def leave(self) -> None:
        if self.places is not None:
            self.places.leave()


class Jobs:
    """One client's jobs, in order; `run` works them off until cancelled."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._sender, self._receiver = anyio.create_memory_object_stream[_Waiting](_MOST_WAITING)
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._busy and not self._receiver.statistics().current_buffer_used

    def start(self, job: Job, places: Places | None = None) -> None:
        """Let a job run after those before it; it has a place until it has ended, or never begins.

        Raises `BusyError` when too many wait, or there is no place.
        """
        if places is not None:
            places.take()
        waiting = _Waiting(job, places)
        try:
            self._sender.send_nowait(waiting)
        except anyio.WouldBlock:
            waiting.leave()
            raise BusyError(f"{_MOST_WAITING} requests of this connection are waiting: wait for them") from None

    async def run(self) -> None:
        """Run the jobs."""
        try:
            async for waiting in self._receiver:
                self._busy = True
                try:
                    await self._run(waiting.job)
                finally:
                    self._busy = False
                    waiting.leave()
        finally:
            while self._receiver.statistics().current_buffer_used:  # whoever asked for them has gone
                self._receiver.receive_nowait().leave()
            self._sender.close()
            self._receiver.close()

    async def _run(self, job: Job) -> None:
        try:
            await job()
        except PersLMError as error:
            refuse(self._wire, error)
        except Exception as error:  # one client's trouble is nobody else's
            log.exception("wyoming_failed error=%s", type(error).__name__)
            self._wire.put(Error("this is a bug in PersLM; the log has it", "bug"))


def refuse(wire: Wire, error: PersLMError) -> None:
    """Tell what went wrong; `code` is "busy", "invalid" or "failed"."""
    code = "busy" if isinstance(error, BusyError) else "invalid" if isinstance(error, InputError) else "failed"
    wire.put(Error(str(error), code))
