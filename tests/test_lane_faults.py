"""Engines that fail and engines that hang. Run as a script, this file is a process that holds a hung engine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from perslm_runtime.errors import (
    BusyError,
    Cancelled,
    EngineError,
    InputError,
    LaneClosed,
    LaneHung,
    MemoryStoreError,
)
from perslm_runtime.lane import Gate, Lane, Stop
from perslm_runtime.lane_faults import RebuildPolicy
from perslm_runtime.lane_job import working_for
from perslm_runtime.lane_watch import find_hang, leave_without_joining

pytestmark = pytest.mark.anyio


class Glass:
    """An engine for threads only: it breaks when told to, and knows where it was made and closed."""

    def __init__(self) -> None:
        self.made_in = threading.get_ident()
        self.closed = 0

    def close(self) -> None:
        self.closed += 1
        assert threading.get_ident() == self.made_in


@dataclass
class Works:
    """Builds glasses and keeps them; `broken` makes the next builds fail."""

    glasses: list[Glass] = field(default_factory=list)
    broken: int = 0
    seconds: float = 0.0
    told: list[tuple[str, str, int]] = field(default_factory=list)

    def build(self) -> Glass:
        if self.broken:
            self.broken -= 1
            raise OSError("no glass left")
        self.glasses.append(Glass())
        return self.glasses[-1]

    def note(self, name: str, error: BaseException, count: int) -> None:
        self.told.append((name, str(error), count))

    def lane(self) -> Lane[Glass]:
        policy = RebuildPolicy(clock=lambda: self.seconds)
        return Lane("glass", self.build, rebuild=policy, on_fault=self.note, stop_s=0.1)


def shatter(_glass: Glass, _stop: Stop) -> None:
    raise ValueError("crack")


def which(glass: Glass, _stop: Stop) -> Glass:
    return glass


def drops(_glass: Glass, _stop: Stop) -> Generator[int, None, None]:
    yield 1


def deaf(released: threading.Event) -> Callable[[Glass, Stop], None]:
    """A call that ignores its stop until the test lets it go."""

    def wait(_glass: Glass, _stop: Stop) -> None:
        released.wait(20)

    return wait


async def test_an_engine_that_failed_is_closed_and_built_again_in_its_thread() -> None:
    works = Works()
    async with works.lane() as lane:
        first = await lane.call(which)
        with pytest.raises(EngineError, match="glass engine failed: ValueError: crack"):
            await lane.call(shatter)
        second = await lane.call(which)
        assert second is not first
        assert (first.closed, second.closed, lane.rebuilt) == (1, 0, 1)
        assert first.made_in == second.made_in
    assert [glass.closed for glass in works.glasses] == [1, 1]
    assert works.told == [("glass", "crack", 1)]


async def test_a_stream_that_fails_has_its_engine_built_again() -> None:
    def spill(_glass: Glass, _stop: Stop) -> Generator[int, None, None]:
        yield 1
        raise EngineError("it leaks")

    works = Works()
    async with works.lane() as lane:
        with pytest.raises(EngineError, match="it leaks"):
            async with lane.stream(spill) as dripped:
                assert [drop async for drop in dripped] == [1]
        assert await lane.call(which) is works.glasses[1]


@pytest.mark.parametrize("kind", [InputError, Cancelled, BusyError, MemoryStoreError, LaneClosed])
async def test_what_was_raised_on_purpose_costs_no_engine(kind: type[Exception]) -> None:
    def refuse(_glass: Glass, _stop: Stop) -> None:
        raise kind("not now")

    works = Works()
    async with works.lane() as lane:
        for _ in range(6):
            with pytest.raises(kind):
                await lane.call(refuse)
        assert await lane.call(which) is works.glasses[0]
    assert works.told == []


async def test_the_fourth_fault_in_ten_minutes_gives_the_engine_up_and_says_so() -> None:
    works = Works()
    async with works.lane() as lane:
        for minute in range(4):
            works.seconds = minute * 60.0
            with pytest.raises(EngineError, match="crack"):
                await lane.call(shatter)
        reason = "the glass engine failed three times in ten minutes and then again, so it was given up: .*crack"
        for _ in range(2):
            with pytest.raises(LaneClosed, match=reason):
                await lane.call(which)
        with pytest.raises(LaneClosed, match=reason):
            async with lane.stream(drops):
                pass
        assert not lane.alive
    assert [glass.closed for glass in works.glasses] == [1, 1, 1, 1]
    assert [count for _, _, count in works.told] == [1, 2, 3, 4]


async def test_jobs_that_waited_for_an_engine_that_was_given_up_get_the_reason() -> None:
    works, released, heard = Works(), threading.Event(), []

    async def ask(lane: Lane[Glass]) -> None:
        try:
            await lane.call(which)
        except LaneClosed as error:
            heard.append(str(error))

    def wait_and_shatter(_glass: Glass, _stop: Stop) -> None:
        released.wait(5)
        raise ValueError("crack")

    async with works.lane() as lane, anyio.create_task_group() as tasks:
        for _ in range(3):
            with pytest.raises(EngineError):
                await lane.call(shatter)

        async def last() -> None:
            with pytest.raises(EngineError):
                await lane.call(wait_and_shatter)

        tasks.start_soon(last)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask, lane)
        await anyio.wait_all_tasks_blocked()
        released.set()
    assert len(heard) == 1
    assert "three times in ten minutes" in heard[0]


async def test_faults_that_are_far_apart_never_give_an_engine_up() -> None:
    works = Works()
    async with works.lane() as lane:
        for number in range(8):
            works.seconds = number * 201.0
            with pytest.raises(EngineError):
                await lane.call(shatter)
        assert await lane.call(which) is works.glasses[8]


async def test_an_engine_that_cannot_be_built_again_is_tried_at_the_next_call() -> None:
    works = Works()
    async with works.lane() as lane:
        works.broken = 2
        with pytest.raises(EngineError, match="crack"):
            await lane.call(shatter)
        with pytest.raises(EngineError, match="no glass left"):
            await lane.call(which)
        assert (await lane.call(which)).closed == 0
    assert [count for _, _, count in works.told] == [1, 2]


async def test_a_hook_that_fails_does_not_stop_the_lane() -> None:
    def explode(_name: str, _error: BaseException, _count: int) -> None:
        raise RuntimeError("nobody listens")

    async with Lane("glass", Glass, rebuild=RebuildPolicy(), on_fault=explode) as lane:
        with pytest.raises(EngineError):
            await lane.call(shatter)
        assert (await lane.call(which)).closed == 0


# Progress


class Counted(Glass):
    def count(self, stop: Stop, limit: int = 3) -> Generator[int, None, None]:
        for number in range(limit):
            stop.check()
            yield number


async def test_progress_goes_up_with_jobs_items_and_polls_and_not_without() -> None:
    async with Lane("count", Counted) as lane:
        start = lane.progress
        assert lane.silent_s == 0
        await lane.call(which)
        assert lane.progress == start + 3, "its start, the lane's look at its stop, its end"
        async with lane.stream(Counted.count, 3) as numbers:
            assert [number async for number in numbers] == [0, 1, 2]
        await anyio.sleep(0.01)
        assert lane.progress == start + 3 + 3 + 3 + 3, "as above, three polls, three items"


async def test_a_long_job_that_polls_is_told_from_one_that_is_silent() -> None:
    released = threading.Event()

    def poll(_glass: Glass, stop: Stop) -> None:
        while not released.wait(0.01) and not stop:
            pass

    async with Lane("glass", Glass, stop_s=2) as lane, anyio.create_task_group() as tasks:
        tasks.start_soon(lane.call, poll)
        await anyio.sleep(0.3)
        assert lane.silent_s < 0.2
        assert find_hang([lane], silent_s=0.25) is None
        released.set()
        await lane.call(which)  # comes after it
        released.clear()
        tasks.start_soon(lane.call, deaf(released))
        await anyio.sleep(0.3)
        assert lane.silent_s > 0.2
        released.set()


async def test_a_producer_that_waits_for_its_consumer_is_not_silent() -> None:
    async with Lane("count", Counted) as lane, lane.stream(Counted.count, 100) as numbers:
        await anext(numbers)
        await anyio.sleep(0.15)
        assert lane.busy_since is not None
        assert lane.silent_s == 0
        assert find_hang([lane], silent_s=0.05) is None


async def test_a_job_behind_a_gate_is_not_silent() -> None:
    gate = Gate()
    async with Lane("glass", Glass) as lane, anyio.create_task_group() as tasks:
        tasks.start_soon(lane.call, lambda _glass, stop: gate.wait(stop))
        await anyio.sleep(0.2)
        assert 0 < lane.silent_s < 0.15
        gate.open()


# Builds


class Slow(Works):
    """Builds that take until they are let go: an engine of minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.released, self.waiting = threading.Event(), threading.Event()

    def build(self) -> Glass:
        if self.glasses:
            self.waiting.set()
            self.released.wait(20)
        return super().build()


async def built_anew(lane: Lane[Glass], works: Slow, *, by: str) -> None:
    """Have the lane build its engine: after a fault, by a renewal, or in a call after a build that failed."""
    if by == "renewal":
        await lane.renew(works.build)
    else:
        with pytest.raises(EngineError):
            await lane.call(shatter)
        await lane.call(which)


@pytest.mark.parametrize("by", ["a fault", "renewal"])
async def test_a_build_that_takes_minutes_is_no_hang(by: str) -> None:
    works = Slow()
    async with (
        Lane("glass", works.build, rebuild=RebuildPolicy(), stop_s=0.05) as lane,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(partial(built_anew, lane, works, by=by))
        await anyio.to_thread.run_sync(works.waiting.wait, 5)
        for _ in range(5):
            await anyio.sleep(0.05)
            assert find_hang([lane], silent_s=0.1) is None
        assert lane.silent_s == 0
        assert lane.busy_since is not None
        works.released.set()
    assert lane.rebuilt == 1
    assert works.glasses[1].closed == 1, "it was built, used and closed in its time"


async def test_a_build_that_takes_longer_than_any_is_a_hang() -> None:
    works = Slow()
    lane = Lane("glass", works.build, rebuild=RebuildPolicy(), stop_s=0.05, build_s=0.1)
    hang = None
    with suppress(LaneHung):
        async with lane:
            with pytest.raises(EngineError):
                await lane.call(shatter)
            with anyio.fail_after(5):
                while hang is None:
                    await anyio.sleep(0.02)
                    hang = find_hang([lane], silent_s=0.1)
    assert "the glass engine hangs" in str(hang)
    await let_go(works.released, lane)


async def test_whoever_leaves_while_an_engine_is_built_does_not_wait_for_it() -> None:
    works, began, left = Slow(), 0.0, 0.0
    async with Lane("glass", works.build, rebuild=RebuildPolicy(), stop_s=5) as lane:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lane.renew, works.build)
                await anyio.to_thread.run_sync(works.waiting.wait, 5)
                began = time.monotonic()
                scope.cancel()
        left = time.monotonic()
        works.released.set()
        assert await lane.call(which) is works.glasses[1]
    assert left - began < 2


# Hangs


async def test_a_call_that_ignores_its_cancellation_is_a_hang_and_nobody_waits_for_it() -> None:
    released, lane = threading.Event(), Works().lane()
    began = time.monotonic()
    with pytest.raises(LaneHung, match=r"hangs: it has been busy since \d\d:\d\d:\d\d"):  # noqa: PT012 - by either
        async with lane:
            with anyio.move_on_after(0.02):
                await lane.call(deaf(released))
    assert 0.1 < time.monotonic() - began < 1.5
    assert lane.hung()
    assert not lane.hung(60)
    await let_go(released, lane)


async def test_a_hang_is_told_with_the_turn_that_it_happened_in() -> None:
    released, lane = threading.Event(), Works().lane()
    with pytest.raises(LaneHung, match="the glass engine hangs in turn 7f: it has been busy since") as caught:  # noqa: PT012 - by either
        async with lane:
            with working_for("7f"):
                await lane.call(which)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lane.call, deaf(released))
                    await anyio.sleep(0.02)
                    tasks.cancel_scope.cancel()
    assert (caught.value.lane, caught.value.turn) == ("glass", "7f")
    await let_go(released, lane)


async def test_what_is_done_for_no_turn_hangs_without_one() -> None:
    released, lane = threading.Event(), Works().lane()
    with pytest.raises(LaneHung, match="engine hangs: ") as caught:  # noqa: PT012 - by either
        async with lane:
            with working_for("7f"):
                await lane.call(which)
            with anyio.move_on_after(0.02):
                await lane.call(deaf(released))
    assert caught.value.turn == ""
    await let_go(released, lane)


async def test_a_stream_that_ignores_its_consumers_leaving_is_a_hang() -> None:
    released = threading.Event()

    def drip(_glass: Glass, _stop: Stop) -> Generator[int, None, None]:
        yield 1
        released.wait(20)

    lane = Works().lane()
    with pytest.raises(LaneHung, match="ignores its stop"):
        async with lane, lane.stream(drip) as dripped:
            await anext(dripped)
    await let_go(released, lane)


async def test_the_watch_stops_a_silent_job_and_names_the_lane_that_does_not_obey() -> None:
    released, lane, well = threading.Event(), Works().lane(), Works().lane()
    found: list[LaneHung] = []
    with suppress(LaneHung, BaseExceptionGroup):
        async with well, lane, anyio.create_task_group() as tasks:
            tasks.start_soon(lane.call, deaf(released))
            began = time.monotonic()
            while not found and time.monotonic() - began < 3:
                await anyio.sleep(0.02)
                found += [error for error in [find_hang([well, lane], silent_s=0.2)] if error]
            tasks.cancel_scope.cancel()
    assert "the glass engine hangs" in str(found[0])
    assert left_behind(lane)
    await let_go(released, lane)


async def test_a_call_that_waits_behind_a_long_one_leaves_at_once_and_is_no_hang() -> None:
    released, ran = threading.Event(), []
    async with Works().lane() as lane, anyio.create_task_group() as tasks:
        tasks.start_soon(lane.call, deaf(released))
        await anyio.wait_all_tasks_blocked()
        began = time.monotonic()
        with anyio.move_on_after(0.02):
            await lane.call(lambda _glass, _stop: ran.append(1))
        assert time.monotonic() - began < 0.1
        released.set()
        await lane.call(which)
    assert ran == []


def test_a_process_with_a_hung_engine_ends_at_once_with_its_own_code() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert time.monotonic() - began < 10
    assert ended.returncode == LaneHung.exit_code == 8
    assert ended.stdout == "offline published\nthe glass engine hangs\n", ended.stderr
    assert ended.stderr == ""


def left_behind(lane: Lane[Glass]) -> bool:
    """Whether the lane's thread was left behind and still runs."""
    return any(thread.name == f"lane-{lane.name}" for thread in threading.enumerate())


async def let_go(released: threading.Event, lane: Lane[Glass]) -> None:
    """End the thread that was left behind, so that the next test starts with none."""
    released.set()
    while left_behind(lane):  # noqa: ASYNC110 - a thread's end sets no event
        await anyio.sleep(0.005)


async def hang() -> None:
    """Hold an engine in a native call, leave, and tell what the last will would."""
    try:
        async with Lane("glass", Glass, stop_s=0.2) as lane:
            with anyio.move_on_after(0.05):
                await lane.call(lambda _glass, _stop: time.sleep(1000))
    finally:
        print("offline published")  # noqa: T201 - how the parent hears of it


if __name__ == "__main__":
    try:
        anyio.run(hang)
    except LaneHung as hung:
        print(str(hung).partition(":")[0])  # noqa: T201 - as above
        leave_without_joining(hung)
    sys.exit(f"the process went on; see {Path(__file__).name}")
