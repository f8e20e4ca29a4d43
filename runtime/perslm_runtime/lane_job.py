"""What a lane runs: a job, its stop, its signs of life, and a gate that holds it back. Starts no thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
import anyio.from_thread
from anyio.lowlevel import EventLoopToken

from perslm_runtime.errors import Cancelled, EngineError, PersLMError

T = TypeVar("T")

_turn: ContextVar[str] = ContextVar("turn", default="")


@contextmanager
def working_for(turn: str) -> Iterator[None]:
    """Within this block, and in the tasks it starts, every job that is given to a lane is of this turn."""
    token = _turn.set(turn)
    try:
        yield
    finally:
        _turn.reset(token)


class Beats:
    """A lane's signs of life: a count that goes up, and when it last did (`time.monotonic()`)."""

    __slots__ = ("count", "last")

    def __init__(self) -> None:
        self.count = 0
        self.last = time.monotonic()

    def beat(self) -> None:
        """Count one more; from any thread (a count lost between two threads does not matter)."""
        self.count += 1
        self.last = time.monotonic()


class Stop:
    """A cooperative stop for one job: polled by engines, set by whoever no longer wants the result.

    Every poll is a sign of life: what polls is not stuck in a native call.
    """

    __slots__ = ("_beats", "_event", "set_at")

    def __init__(self, beats: Beats | None = None) -> None:
        self._event = threading.Event()
        self._beats = beats
        self.set_at: float | None = None

    def set(self) -> None:
        """Ask the job to end at its next check. May be called from any thread, more than once."""
        if self.set_at is None:
            self.set_at = time.monotonic()
        self._event.set()

    def beat(self) -> None:
        """Give a sign of life; for engines that report progress without asking whether to stop."""
        if self._beats is not None:
            self._beats.beat()

    def __bool__(self) -> bool:
        self.beat()
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the job was told to stop."""
        if self:
            raise Cancelled("stopped before it was finished")


_building: ContextVar[Stop] = ContextVar("building")


@contextmanager
def building(stop: Stop) -> Iterator[None]:
    """Within this block `stop` is the stop of what is built in this thread."""
    token = _building.set(stop)
    try:
        yield
    finally:
        _building.reset(token)


def stop_of_build() -> Stop:
    """The stop of the build that runs in this thread, for engines that take long; nobody sets one elsewhere."""
    found = _building.get(None)
    return Stop() if found is None else found  # never `or`: a stop that is not set is false


class Gate:
    """Holds a job back until another task opens it; used once. A job waits in its own thread, the loop never."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        """Let the job go on. May be called from any thread, more than once."""
        self._event.set()

    def wait(self, stop: Stop) -> None:
        """Wait in the lane's thread; returns within 20 ms when `stop` is set."""
        while not self._event.wait(0.02):
            if stop:
                return


@dataclass(slots=True)
class Outcome(Generic[T]):
    """A result on its way from the lane's thread to the loop."""

    done: anyio.Event
    value: T | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class Job:
    """A piece of work for a lane's thread; `tell` lets its asker know that `outcome` is there."""

    work: Callable[[], None]
    outcome: Outcome[Any]
    tell: Callable[[], None]
    stop: Stop
    started: float = 0.0
    waits: bool = False
    """It waits for its consumer to take an item; that is no hang."""
    turn: str = field(default_factory=_turn.get)
    """The turn that it is done for, "" for none: a hang is told with it."""

    def refuse(self, error: PersLMError) -> None:
        """End it without running it."""
        self.outcome.error = error
        self.tell()


def tell_loop(token: EventLoopToken, action: Callable[[], None]) -> None:
    """Run `action` in the loop, from another thread; nobody is left to tell once the loop has ended."""
    try:
        anyio.from_thread.run_sync(action, token=token)
    except anyio.RunFinishedError:
        return


def as_engine_error(name: str, error: BaseException) -> BaseException:
    """The error as whoever asked the lane `name` gets it: ours as it is, any other as `EngineError`."""
    if isinstance(error, PersLMError) or not isinstance(error, Exception):
        return error
    return EngineError(f"the {name} engine failed: {type(error).__name__}: {error}")
