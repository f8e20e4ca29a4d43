"""A lane: one engine, one thread, cooperative stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from functools import partial

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perslm_runtime.errors import EngineError, InputError, LaneClosed
from perslm_runtime.lane import Lane, Stop, stop_of_build
from perslm_runtime.lane_faults import RebuildPolicy
from perslm_runtime.lane_vacancy import while_vacant

pytestmark = pytest.mark.anyio


class Counter:
    """A native engine's stand-in for threads only: it counts, slowly if asked, and knows its thread."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.closed_in: int | None = None
        self.made = 0

    def close(self) -> None:
        self.closed_in = threading.get_ident()

    def count(self, stop: Stop, limit: int, pause_s: float = 0.0) -> Generator[int, None, None]:
        for number in range(limit):
            stop.check()
            self.made += 1
            yield number
            time.sleep(pause_s)


def lanes_alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("lane-")]


async def test_an_engine_is_built_used_and_closed_in_one_thread_that_is_not_the_loops() -> None:
    engine = Counter()
    built_in: list[int] = []

    def build() -> Counter:
        built_in.append(threading.get_ident())
        return engine

    async with Lane("count", build) as lane:
        used_in = await lane.call(lambda _engine, _stop: threading.get_ident())
    assert built_in == [used_in] == [engine.closed_in]
    assert used_in != threading.get_ident()
    assert lanes_alive() == []


async def test_a_build_that_nobody_waits_for_is_told_to_stop_and_what_came_of_it_is_closed() -> None:
    engine, begun = Counter(), threading.Event()

    def build() -> Counter:
        stop = stop_of_build()
        begun.set()
        while not stop:
            time.sleep(0.002)
        return engine

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Lane("count", build).__aenter__)
        while not begun.is_set():  # noqa: ASYNC110 - the thread knows no loop
            await anyio.sleep(0.002)
        tasks.cancel_scope.cancel()
    assert engine.closed_in is not None
    assert lanes_alive() == []


async def test_a_stream_gives_every_item_in_order() -> None:
    async with Lane("count", Counter) as lane, lane.stream(Counter.count, 100) as numbers:
        assert [number async for number in numbers] == list(range(100))


async def test_a_slow_consumer_makes_the_producer_wait() -> None:
    engine = Counter()
    async with Lane("count", lambda: engine) as lane, lane.stream(Counter.count, 10_000) as numbers:
        await anext(numbers)
        await anyio.sleep(0.05)
        assert engine.made < 12


async def test_leaving_a_stream_stops_the_producer_and_frees_the_engine() -> None:
    engine = Counter()
    async with Lane("count", lambda: engine) as lane:
        async with lane.stream(Counter.count, 10_000, 0.001) as numbers:
            await anext(numbers)
        made = engine.made
        assert await lane.call(lambda _engine, _stop: "free") == "free"
        assert engine.made == made < 20


async def test_cancelling_a_call_sets_its_stop_and_waits_until_the_engine_is_free() -> None:
    ended: list[bool] = []

    def work(_engine: Counter, stop: Stop) -> None:
        while not stop:
            time.sleep(0.001)
        ended.append(True)

    async with Lane("count", Counter) as lane:
        with anyio.move_on_after(0.02):
            await lane.call(work)
        assert ended == [True]
        assert lane.busy_since is None


async def test_an_error_in_the_engine_names_the_engine_and_the_lane_works_on() -> None:
    def work(_engine: Counter, _stop: Stop) -> None:
        raise ValueError("bad weights")

    async with Lane("count", Counter) as lane:
        with pytest.raises(EngineError, match=r"count engine failed: ValueError: bad weights"):
            await lane.call(work)
        assert await lane.call(lambda _engine, _stop: 5) == 5


async def test_an_error_of_ours_comes_through_as_it_is() -> None:
    def work(_engine: Counter, _stop: Stop) -> Generator[int, None, None]:
        yield 1
        raise InputError("too long")

    async with Lane("count", Counter) as lane:
        with pytest.raises(InputError, match="too long"):
            async with lane.stream(work) as numbers:
                assert [number async for number in numbers] == [1]


async def test_a_build_that_fails_raises_where_the_lane_is_entered_and_leaves_no_thread() -> None:
    def build() -> Counter:
        raise OSError("no such file")

    lane = Lane("count", build)
    with pytest.raises(EngineError, match="no such file"):
        await lane.__aenter__()
    with pytest.raises(LaneClosed):
        await lane.call(lambda _engine, _stop: 1)
    assert lanes_alive() == []


async def test_a_lane_that_was_left_refuses_work() -> None:
    async with Lane("count", Counter) as lane:
        pass
    with pytest.raises(LaneClosed):
        await lane.call(lambda _engine, _stop: 1)


@settings(max_examples=25, deadline=None, database=None)
@given(st.lists(st.sampled_from(["call", "stream", "leave", "cancel", "fail"]), max_size=6))
def test_any_interleaving_of_use_and_interrupt_leaves_no_thread(steps: list[str]) -> None:
    async def run() -> None:
        async with Lane("count", Counter) as lane:
            for step in steps:
                if step == "call":
                    await lane.call(lambda _engine, _stop: 1)
                elif step == "fail":
                    with pytest.raises(EngineError):
                        await lane.call(lambda _engine, _stop: 1 // 0)
                elif step == "cancel":
                    with anyio.move_on_after(0.001):
                        async with lane.stream(Counter.count, 10_000, 0.0005) as numbers:
                            async for _ in numbers:
                                pass
                else:
                    async with lane.stream(Counter.count, 50) as numbers:
                        async for number in numbers:
                            if step == "leave" and number == 3:
                                break

    anyio.run(run)
    assert lanes_alive() == []


async def test_a_stream_of_a_lane_that_was_left_is_refused() -> None:
    async with Lane("count", Counter) as lane:
        pass
    with pytest.raises(LaneClosed):
        async with lane.stream(Counter.count, 3):
            pass


@settings(max_examples=25, deadline=None, database=None)
@given(st.lists(st.sampled_from(["call", "cancel", "fail"]), max_size=8))
def test_any_interleaving_with_rebuilds_closes_every_engine_once_and_leaves_no_thread(steps: list[str]) -> None:
    engines: list[Counter] = []

    def build() -> Counter:
        engines.append(Counter())
        return engines[-1]

    async def run() -> None:
        async with Lane("count", build, rebuild=RebuildPolicy(times=99)) as lane:
            for step in steps:
                if step == "call":
                    assert await lane.call(lambda engine, _stop: engine) is engines[-1]
                elif step == "fail":
                    with pytest.raises(EngineError):
                        await lane.call(lambda _engine, _stop: 1 // 0)
                else:
                    with anyio.move_on_after(0.001):
                        async with lane.stream(Counter.count, 10_000, 0.0005) as numbers:
                            async for _ in numbers:
                                pass

    anyio.run(run)
    assert lanes_alive() == []
    # A fault that was the last thing before leaving is not followed by another engine, or only just.
    assert max(1, steps.count("fail")) <= len(engines) <= steps.count("fail") + 1
    assert all(engine.closed_in == engine.thread for engine in engines)


async def test_work_in_an_engines_place_ends_before_it_is_built_again_for_whoever_wants_it() -> None:
    there: list[str] = []

    class Seen(Counter):
        def __init__(self) -> None:
            super().__init__()
            there.append("engine")

        def close(self) -> None:
            super().close()
            there.remove("engine")

    async def work(seconds: float) -> list[str]:
        there.append("work")
        try:
            await anyio.sleep(seconds)
            return list(there)
        finally:
            there.remove("work")

    async with Lane("counter", Seen) as lane:
        assert await while_vacant(lane, partial(work, 0.0)) == ["work"]
        assert there == [], "nobody has wanted it yet"
        outcomes: list[object] = []
        async with anyio.create_task_group() as tasks:

            async def disturbed() -> None:
                outcomes.append(await while_vacant(lane, partial(work, 60.0)))

            tasks.start_soon(disturbed)
            while there != ["work"]:  # noqa: ASYNC110 - a list tells nobody
                await anyio.sleep(0.001)
            assert await lane.call(lambda _engine, _stop: list(there)) == ["engine"]
        assert outcomes == [None]
        with anyio.move_on_after(0.05) as limit:
            await while_vacant(lane, partial(work, 60.0))
        assert limit.cancelled_caught
        assert there == [], "who cancels waits for its end"
    with pytest.raises(LaneClosed):
        await while_vacant(lane, partial(work, 0.0))
    assert lanes_alive() == []
