"""One native handle, one thread.

A `Lane` builds an engine in a thread of its own and runs every call on it there, in order; nothing
else in PersLM starts threads. It knows no engine. Stopping is cooperative: each job gets a `Stop`,
which the engine polls between tokens, buffers or batches. Leaving the lane's block sets the stop,
closes the engine in its own thread and waits for the thread to end.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token

from perslm_runtime.errors import Cancelled, EngineError, LaneClosed, PersLMError

P = ParamSpec("P")
T = TypeVar("T")


class Closable(Protocol):
    """What a lane needs of an engine: a way to free its native memory."""

    def close(self) -> None:
        """Free it; called once, in the lane's thread."""


E = TypeVar("E", bound=Closable)


class Stop:
    """A cooperative stop for one job: polled by engines, set by whoever no longer wants the result."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the job to end at its next check. May be called from any thread, more than once."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the job was told to stop."""
        if self._event.is_set():
            raise Cancelled("stopped before it was finished")


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
class _Job:
    run: Callable[[], None]
    refuse: Callable[[PersLMError], None]
    stop: Stop
    started: float = 0.0


@dataclass(slots=True)
class _Outcome(Generic[T]):
    """A result on its way from the lane's thread to the loop."""

    done: anyio.Event
    value: T | None = None
    error: BaseException | None = None


class Lane(Generic[E]):
    """Runs one engine in one thread; an async context manager.

    Entering builds the engine in the thread and returns once it is ready (errors of the build are
    raised there, as `EngineError` unless they already are a `PersLMError`). `call` and `stream` may be
    awaited from any task; jobs run in the order they were asked for. Cancelling the awaiting task stops
    the job cooperatively and waits until the engine is free again.
    """

    def __init__(self, name: str, build: Callable[[], E]) -> None:
        self.name = name
        self.load_s = 0.0
        self._build = build
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._current: _Job | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self._engine: E | None = None

    @property
    def busy_since(self) -> float | None:
        """`time.monotonic()` at which the running job began, or None when the engine is idle."""
        job = self._current
        return job.started if job else None

    @property
    def alive(self) -> bool:
        """Whether the lane's thread runs and takes jobs."""
        return not self._closing and self._thread is not None and self._thread.is_alive()

    async def __aenter__(self) -> Lane[E]:
        token = current_token()
        ready: _Outcome[None] = _Outcome(anyio.Event())
        self._thread = threading.Thread(
            target=self._main, args=(ready, token), name=f"lane-{self.name}", daemon=True
        )
        self._thread.start()
        # A build is one long native call that cannot be stopped half-way: wait for it, then leave.
        with anyio.CancelScope(shield=True):
            await ready.done.wait()
        if ready.error is not None:
            self._closing = True
            await self._wait_for_thread()
            raise _as_engine_error(self.name, ready.error) from ready.error
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._closing = True
        job = self._current
        if job is not None:
            job.stop.set()
        self._jobs.put(None)
        with anyio.CancelScope(shield=True):
            await self._wait_for_thread()

    async def call(self, work: Callable[Concatenate[E, Stop, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(engine, stop, *args)` in the lane's thread and return its result.

        Cancelling sets `stop` and waits for `work` to return. Raises what `work` raises; errors that are
        not a `PersLMError` become `EngineError`.
        """
        token = current_token()
        stop = Stop()
        outcome: _Outcome[T] = _Outcome(anyio.Event())

        def run() -> None:
            try:
                outcome.value = work(self._ready_engine(), stop, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - the lane edge is where errors are caught
                outcome.error = error
            _tell(token, outcome.done.set)

        def refuse(error: PersLMError) -> None:
            outcome.error = error
            _tell(token, outcome.done.set)

        self._put(_Job(run, refuse, stop))
        try:
            await outcome.done.wait()
        except anyio.get_cancelled_exc_class():
            stop.set()
            with anyio.CancelScope(shield=True):
                await outcome.done.wait()
            raise
        if outcome.error is not None:
            raise _as_engine_error(self.name, outcome.error) from outcome.error
        return outcome.value  # type: ignore[return-value]  # set whenever error is not

    @asynccontextmanager
    async def stream(
        self,
        work: Callable[Concatenate[E, Stop, P], Generator[T, None, None]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[AsyncIterator[T]]:
        """Iterate in the loop over what `work(engine, stop, ...)` yields in the lane's thread.

        At most eight items wait between the two; then the producer waits. Leaving the block, by `break`,
        error or cancellation, stops the producer and waits until the engine is free.
        """
        token = current_token()
        stop = Stop()
        sender, receiver = anyio.create_memory_object_stream[T](8)
        outcome: _Outcome[None] = _Outcome(anyio.Event())

        def run() -> None:
            try:
                with closing(work(self._ready_engine(), stop, *args, **kwargs)) as items:
                    for item in items:
                        anyio.from_thread.run(sender.send, item, token=token)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the consumer left: what it no longer wants is not an error
            except BaseException as error:  # noqa: BLE001 - the lane edge is where errors are caught
                outcome.error = error
            _tell(token, sender.close)
            _tell(token, outcome.done.set)

        def refuse(error: PersLMError) -> None:
            outcome.error = error
            _tell(token, sender.close)
            _tell(token, outcome.done.set)

        self._put(_Job(run, refuse, stop))
        try:
            yield receiver
        finally:
            stop.set()
            receiver.close()
            with anyio.CancelScope(shield=True):
                await outcome.done.wait()
        if outcome.error is not None and not isinstance(outcome.error, Cancelled):
            raise _as_engine_error(self.name, outcome.error) from outcome.error

    async def _wait_for_thread(self) -> None:
        if self._thread is not None:
            await anyio.to_thread.run_sync(self._thread.join)

    def _put(self, job: _Job) -> None:
        if not self.alive:
            raise LaneClosed(f"the {self.name} engine is not running")
        self._jobs.put(job)

    def _ready_engine(self) -> E:
        if self._engine is None:
            raise LaneClosed(f"the {self.name} engine is not running")
        return self._engine

    def _main(self, ready: _Outcome[None], token: EventLoopToken) -> None:
        began = time.perf_counter()
        try:
            self._engine = self._build()
        except BaseException as error:  # noqa: BLE001 - reported to the task that entered the lane
            ready.error = error
            _tell(token, ready.done.set)
            return
        self.load_s = time.perf_counter() - began
        _tell(token, ready.done.set)
        try:
            while (job := self._jobs.get()) is not None:
                if self._closing:
                    job.refuse(LaneClosed(f"the {self.name} engine is shutting down"))
                    continue
                job.started = time.monotonic()
                self._current = job
                job.run()
                self._current = None
        finally:
            engine, self._engine = self._engine, None
            engine.close()


def _tell(token: EventLoopToken, action: Callable[[], None]) -> None:
    """Run `action` in the loop; nobody is left to tell once the loop has ended."""
    try:
        anyio.from_thread.run_sync(action, token=token)
    except anyio.RunFinishedError:
        return


def _as_engine_error(name: str, error: BaseException) -> BaseException:
    if isinstance(error, PersLMError) or not isinstance(error, Exception):
        return error
    return EngineError(f"the {name} engine failed: {type(error).__name__}: {error}")
