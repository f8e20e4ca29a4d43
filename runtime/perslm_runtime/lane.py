"""One native handle, one thread.

A `Lane` builds an engine in a thread of its own and runs every call on it there, in order; nothing
else in PersLM starts threads. It knows no engine. Stopping is cooperative: each job gets a `Stop`,
which the engine polls between tokens, buffers or batches. Leaving the lane's block sets the stop,
closes the engine in its own thread and waits for the thread to end.

Two things go wrong with native code. A call that raises leaves an engine in doubt: under a `RebuildPolicy` it is
closed and built again in the same thread (lane_faults.py). A call that ignores its stop past the lane's deadline
cannot be ended: nobody waits for it any longer, `LaneHung` is raised, and its thread is left behind.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, closing
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import EventLoopToken, current_token

from perslm_runtime.errors import Cancelled, LaneClosed, LaneHung
from perslm_runtime.lane_faults import Faults, RebuildPolicy, is_fault
from perslm_runtime.lane_job import (
    Beats,
    Gate,
    Job,
    Outcome,
    Stop,
    as_engine_error,
    building,
    stop_of_build,
    tell_loop,
)

__all__ = ["BUILD_S", "STOP_S", "Gate", "Lane", "Stop", "stop_of_build"]

log = logging.getLogger("perslm.lane")

STOP_S = 5.0
"""How long after its stop a job may still run before it counts as hung."""
BUILD_S = 1800.0
"""How long an engine may take to be built: one native call that tells nothing, minutes from a worn SD card."""

P = ParamSpec("P")
T = TypeVar("T")


class Closable(Protocol):
    """What a lane needs of an engine: a way to free its native memory."""

    def close(self) -> None:
        """Free it; called once, in the lane's thread."""


E = TypeVar("E", bound=Closable)


class Lane(Generic[E]):
    """Runs one engine in one thread; an async context manager.

    Entering builds the engine in the thread and returns once it is ready (errors of the build are
    raised there, as `EngineError` unless they already are a `PersLMError`); cancelled, it sets the build's stop
    (`stop_of_build`), waits for the build and closes what came of it. `call` and `stream` may be
    awaited from any task; jobs run in the order they were asked for. Cancelling the awaiting task stops
    the job cooperatively and waits until the engine is free again, `stop_s` at most: then it raises `LaneHung`.

    With `rebuild`, an engine whose call failed (`lane_faults.is_fault`) is closed and built again before the next
    job; one fault too many and the lane is given up: it stays open, and every call raises `LaneClosed` with the
    reason. `on_fault(name, error, count)` is called in the loop at every fault, before the engine is rebuilt.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], E],
        *,
        rebuild: RebuildPolicy | None = None,
        on_fault: Callable[[str, BaseException, int], None] | None = None,
        stop_s: float = STOP_S,
        build_s: float = BUILD_S,
    ) -> None:
        self.name = name
        self.load_s = 0.0
        self.rebuilt = 0
        """How often the engine was built again: what it knew of a conversation went with the one before."""
        self.given_up: str | None = None
        """Why the engine was given up, or None."""
        self._build = build
        self._faults = Faults(rebuild)
        self._on_fault = on_fault
        self._stop_s, self._build_s = stop_s, build_s
        self._build_began: float | None = None
        self._build_ended = 0.0
        self._beats = Beats()
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._current: Job | None = None
        self._first_build = Stop(self._beats)
        self._closing = False
        self._thread: threading.Thread | None = None
        self._engine: E | None = None

    @property
    def busy_since(self) -> float | None:
        """`time.monotonic()` at which the running job (or rebuild) began, or None when the engine is idle."""
        job = self._current
        return job.started if job else None

    @property
    def alive(self) -> bool:
        """Whether the lane's thread runs and takes jobs."""
        return not self._closing and not self.given_up and self._thread is not None and self._thread.is_alive()

    @property
    def progress(self) -> int:
        """Goes up at every start and end of a job, item of a stream, and poll of a stop."""
        return self._beats.count

    @property
    def silent_s(self) -> float:
        """Seconds for which the running job has made no progress.

        0 when idle, when waiting for its consumer, and while the engine is being built (`build_s` at most).
        """
        job = self._current
        return 0.0 if job is None or job.waits or self._builds() else time.monotonic() - self._beats.last

    def interrupt(self) -> None:
        """Tell the running job, if any, to stop; whoever awaits it gets `Cancelled`."""
        job = self._current
        if job is not None:
            job.stop.set()

    def hung(self, deadline_s: float | None = None) -> bool:
        """Whether the running job was told to stop more than `deadline_s` (the lane's) ago and still runs."""
        job = self._current
        if job is None or job.stop.set_at is None or self._builds():
            return False
        told = max(job.stop.set_at, self._build_ended)  # it could not look at its stop before
        return time.monotonic() - told > (self._stop_s if deadline_s is None else deadline_s)

    def _builds(self) -> bool:
        """Whether the engine is being built anew, and not for too long yet."""
        began = self._build_began
        return began is not None and time.monotonic() - began <= self._build_s

    def hang_error(self) -> LaneHung:
        """The hang as an error to raise or to publish: which lane and turn, since when, and what to do."""
        job = self._current
        if job is None:
            return LaneHung(
                f"the {self.name} engine hangs while it is closed: PersLM has to be restarted", lane=self.name
            )
        now = time.monotonic()
        at = time.strftime("%H:%M:%S", time.localtime(time.time() - (now - job.started)))
        told = 0.0 if job.stop.set_at is None else now - job.stop.set_at
        where = f" in turn {job.turn}" if job.turn else ""
        return LaneHung(
            f"the {self.name} engine hangs{where}: it has been busy since {at} "
            f"({now - job.started:.1f} s) and ignores its stop of {told:.1f} s ago: PersLM has to be restarted",
            lane=self.name,
            turn=job.turn,
        )

    async def __aenter__(self) -> Lane[E]:
        token = current_token()
        ready: Outcome[None] = Outcome(anyio.Event())
        self._thread = threading.Thread(
            target=self._main, args=(ready, token), name=f"lane-{self.name}", daemon=True
        )
        self._thread.start()
        try:
            await ready.done.wait()
        except anyio.get_cancelled_exc_class():
            await self._leave_build(ready)
            raise
        if ready.error is not None:
            self._closing = True
            await self._wait_for_thread(None)
            raise as_engine_error(self.name, ready.error) from ready.error
        return self

    async def _leave_build(self, ready: Outcome[None]) -> None:
        """Stop a build that nobody wants any more, wait for it, and close what came of it.

        Most builds are one native call that looks at no stop; the model's does.
        """
        self._first_build.set()
        self._closing = True
        self._jobs.put(None)
        with anyio.CancelScope(shield=True):
            await ready.done.wait()
            await self._wait_for_thread(None)

    async def __aexit__(self, *exc: object) -> None:
        self._closing = True
        self.interrupt()
        self._jobs.put(None)
        job = self._current
        told = job.stop.set_at if job and job.stop.set_at else time.monotonic()
        with anyio.CancelScope(shield=True):
            await self._wait_for_thread(max(0.0, told + self._stop_s - time.monotonic()))
        if self._thread is not None and self._thread.is_alive():
            raise self.hang_error()

    async def call(self, work: Callable[Concatenate[E, Stop, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work(engine, stop, *args)` in the lane's thread and return its result.

        Cancelling sets `stop` and waits for `work` to return. Raises what `work` raises; errors that are
        not a `PersLMError` become `EngineError`.
        """
        return await self._done(lambda stop: work(self._ready_engine(stop), stop, *args, **kwargs))

    async def renew(self, build: Callable[[], E]) -> None:
        """Close the engine and have another built by `build`, between two jobs; `rebuilt` goes up.

        The two are never in memory together. Where the build fails, the former engine is built again and the
        error raised.
        """
        error = await self._done(lambda stop: self._exchange(build, stop))
        if error is not None:
            raise as_engine_error(self.name, error) from error

    def _exchange(self, build: Callable[[], E], stop: Stop) -> Exception | None:
        self._let_go()
        began = time.perf_counter()
        try:
            self._engine = self._built(build, stop)
        except Exception as error:  # noqa: BLE001 - handed to whoever asked, once the former engine is back
            self._ready_engine(stop)
            return error
        self._build = build
        self.load_s = time.perf_counter() - began
        self.rebuilt += 1
        return None

    async def reopen(self, between: Callable[[], T]) -> T:
        """Close the engine, do `between` in its thread, and build it again as before; `rebuilt` goes up.

        Where `between` fails, the engine is built all the same and the error raised.
        """
        return await self._done(lambda stop: self._reopened(between, stop))

    async def vacate(self, hold: Callable[[Stop, Callable[[], bool]], None]) -> None:
        """Close the engine and run `hold(stop, wanted)` in its thread; the next job builds it again as before.

        `wanted()` says whether a job waits for the engine by now.
        """
        await self._done(lambda stop: self._vacated(hold, stop))

    def _vacated(self, hold: Callable[[Stop, Callable[[], bool]], None], stop: Stop) -> None:
        self._let_go()
        hold(stop, lambda: not self._jobs.empty())

    def _reopened(self, between: Callable[[], T], stop: Stop) -> T:
        self._let_go()
        try:
            return between()
        finally:
            self._ready_engine(stop)

    def _let_go(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    async def _done(self, work: Callable[[Stop], T]) -> T:
        self._refuse_if_closed()
        token = current_token()
        stop = Stop(self._beats)
        outcome: Outcome[T] = Outcome(anyio.Event())

        def run() -> None:
            outcome.value = work(stop)

        job = Job(run, outcome, lambda: tell_loop(token, outcome.done.set), stop)
        self._jobs.put(job)
        try:
            await outcome.done.wait()
        except anyio.get_cancelled_exc_class():
            await self._settle(job)
            raise
        if outcome.error is not None:
            raise as_engine_error(self.name, outcome.error) from outcome.error
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
        self._refuse_if_closed()
        token = current_token()
        stop = Stop(self._beats)
        sender, receiver = anyio.create_memory_object_stream[T](8)
        outcome: Outcome[None] = Outcome(anyio.Event())

        def run() -> None:
            try:
                with closing(work(self._ready_engine(stop), stop, *args, **kwargs)) as items:
                    for item in items:
                        job.waits = True
                        anyio.from_thread.run(sender.send, item, token=token)
                        stop.beat()
                        job.waits = False
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the consumer left: what it no longer wants is not an error

        def tell() -> None:
            tell_loop(token, sender.close)
            tell_loop(token, outcome.done.set)

        job = Job(run, outcome, tell, stop)
        self._jobs.put(job)
        try:
            yield receiver
        finally:
            receiver.close()
            await self._settle(job)
        if outcome.error is not None and not isinstance(outcome.error, Cancelled):
            raise as_engine_error(self.name, outcome.error) from outcome.error

    async def _settle(self, job: Job) -> None:
        """Stop the job and wait until the engine is free of it. One that has not begun never will: no wait.

        Nor for one whose engine is being built first, which may take minutes: it ends before it touches it.
        """
        job.stop.set()
        if self._current is not job or self._builds():
            return
        with anyio.move_on_after(self._stop_s, shield=True):
            await job.outcome.done.wait()
        if not job.outcome.done.is_set():
            raise self.hang_error()

    async def _wait_for_thread(self, seconds: float | None) -> None:
        if self._thread is not None:
            await anyio.to_thread.run_sync(self._thread.join, seconds)

    def _refuse_if_closed(self) -> None:
        if not self.alive:
            raise LaneClosed(self.given_up or f"the {self.name} engine is not running")

    def _ready_engine(self, stop: Stop) -> E:
        if self._engine is None:  # the build after a fault failed: the next job tries once more
            self._engine = self._built(self._build, stop)
            self.rebuilt += 1
        return self._engine

    def _built(self, build: Callable[[], E], stop: Stop) -> E:
        self._build_began = time.monotonic()
        try:
            with building(stop):
                return build()
        finally:
            self._build_ended = time.monotonic()
            self._beats.beat()
            self._build_began = None

    def _main(self, ready: Outcome[None], token: EventLoopToken) -> None:
        began = time.perf_counter()
        try:
            self._engine = self._built(self._build, self._first_build)
        except BaseException as error:  # noqa: BLE001 - reported to the task that entered the lane
            ready.error = error
            tell_loop(token, ready.done.set)
            return
        self.load_s = time.perf_counter() - began
        tell_loop(token, ready.done.set)
        try:
            while (job := self._jobs.get()) is not None:
                if self._closing or self.given_up:
                    job.refuse(LaneClosed(self.given_up or f"the {self.name} engine is shutting down"))
                else:
                    self._run(job, token)
        finally:
            self._let_go()

    def _run(self, job: Job, token: EventLoopToken) -> None:
        """Run one job and tell what came of it; then, after a fault, see to the engine."""
        self._begin(job)
        if self._closing:
            job.stop.set()
        try:
            job.stop.check()  # whoever left before it began waits for nothing
            job.work()
        except BaseException as error:  # noqa: BLE001 - the lane edge is where errors are caught
            job.outcome.error = error
        finally:
            self._beats.beat()
            self._current = None
        fault = job.outcome.error
        if self._faults.policy is None or fault is None or not is_fault(fault):
            job.tell()
            return
        count = self._faults.count()
        if self._faults.too_many():
            self.given_up = self._faults.sentence(self.name, fault)
        job.tell()
        self._announce(fault, count, token)
        self._renew()

    def _begin(self, job: Job) -> None:
        job.started = time.monotonic()
        self._beats.beat()
        self._current = job

    def _announce(self, fault: BaseException, count: int, token: EventLoopToken) -> None:
        log.error(
            "lane=%s fault=%s count=%d given_up=%s", self.name, type(fault).__name__, count, bool(self.given_up)
        )
        if self._on_fault is None:
            return
        hook = self._on_fault
        try:
            tell_loop(token, lambda: hook(self.name, fault, count))
        except Exception:
            log.exception("lane=%s: the fault could not be announced", self.name)

    def _renew(self) -> None:
        """Close the engine in doubt and, unless it was given up, build it again; busy meanwhile."""
        stop = Stop(self._beats)
        self._begin(Job(lambda: None, Outcome(anyio.Event()), lambda: None, stop))
        try:
            self._let_go()
        except Exception:
            log.exception("lane=%s: the failed engine could not be closed", self.name)
        try:
            if not self.given_up and not self._closing:
                self._ready_engine(stop)
        except Exception:
            log.exception("lane=%s: the engine could not be built again; the next call tries once more", self.name)
        finally:
            self._beats.beat()
            self._current = None
