from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.board_state import board_state
from perslm_daemon.bulletin import Bulletin, Happening, Listener, Notice
from perslm_daemon.config_sections import Health as Wanted
from perslm_daemon.health import Health, Pressure
from perslm_runtime.heap import give_back_free_pages
from perslm_runtime.lane import Lane, Stop

pytestmark = pytest.mark.anyio

QUICK = Wanted(interval_s=0.2, stall_s=0.3)


class Worker:
    """Works until it is let go: polling its stop, as engines do, or silently, as one that hangs."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def close(self) -> None:
        self.let_go.set()

    def work(self, stop: Stop, polls: bool) -> None:
        while not self.let_go.wait(0.02):
            if polls:
                stop.check()


class Board:
    """A copy of what a board's kernel tells, to be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def say(self, file: str, text: str) -> None:
        (self.root / file).parent.mkdir(parents=True, exist_ok=True)
        (self.root / file).write_text(text)

    def temperature(self, celsius: float) -> None:
        self.say("sys/class/thermal/thermal_zone0/temp", f"{round(celsius * 1000)}\n")

    def pressure(self, percent: float) -> None:
        self.say(
            "proc/pressure/memory", f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00\n"
        )


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def health(
    board: Board | None = None,
    wanted: Wanted = QUICK,
    lanes: tuple[Lane[Any], ...] = (),
    beat: Callable[[], None] | None = None,
) -> tuple[Health, Bulletin]:
    bulletin = Bulletin()
    root = board.root if board is not None else Path("/")
    return Health(wanted, bulletin, lambda: lanes, beat=beat, beat_s=0.15, root=root), bulletin


def waiting(notices: Listener) -> Iterator[Notice]:
    with suppress(anyio.WouldBlock):
        while True:
            yield notices.receive_nowait()


async def test_the_figures_of_this_very_process_are_posted_again_and_again() -> None:
    watch, bulletin = health()
    posts = 0
    async with anyio.create_task_group() as tasks, bulletin.listen() as notices:
        tasks.start_soon(watch.run)
        with anyio.fail_after(5):
            async for _ in notices:
                posts += 1
                if posts == 2:
                    break
        tasks.cancel_scope.cancel()
    said = bulletin.current()["health"]
    assert said["rss_mb"] > 10
    assert said["memory_available_mb"] > 10
    assert said["threads"] >= 1
    assert said["ok"] is True


def test_a_board_that_tells_nothing_gives_no_error_and_no_figure(board: Board) -> None:
    state = board_state(board.root)
    assert (state.temperature_c, state.memory_pressure_percent, state.throttled) == (None, None, ())


def test_the_hottest_zone_counts_and_a_broken_sensor_does_not(board: Board) -> None:
    board.temperature(51.234)
    board.say("sys/class/thermal/thermal_zone1/temp", "62500\n")
    board.say("sys/class/thermal/thermal_zone2/temp", "N/A\n")
    assert board_state(board.root).temperature_c == 62.5


def test_what_slows_a_raspberry_pi_down_now_is_named(board: Board) -> None:
    board.say("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    assert board_state(board.root).throttled == ("under-voltage", "throttled")
    board.say("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
    assert board_state(board.root).throttled == ()


async def test_heat_pauses_background_work_warns_once_and_ends_below_the_limit(board: Board) -> None:
    watch, bulletin = health(board)
    async with bulletin.listen() as notices:
        for celsius, paused in ((70, False), (81, True), (83, True), (77, True), (74, False), (79, False)):
            await anyio.to_thread.run_sync(board.temperature, celsius)
            figures = await watch.report()
            assert (watch.pressure.reason is not None) is paused, celsius
            assert figures.as_fields()["ok"] is not paused
        warnings = [notice for notice in waiting(notices) if isinstance(notice, Happening)]
    assert [warning.fields["what"] for warning in warnings] == ["temperature"]
    assert "81.0 °C" in warnings[0].fields["text"]


async def test_memory_pressure_pauses_and_relief_comes_when_it_eases(board: Board) -> None:
    watch, _ = health(board)
    await anyio.to_thread.run_sync(board.pressure, 35)
    await watch.report()
    assert "memory is short (35.0 %" in (watch.pressure.reason or "")
    relieved = anyio.Event()

    async def wait() -> None:
        await watch.pressure.relief()
        relieved.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.to_thread.run_sync(board.pressure, 7)
        await watch.report()
        await anyio.wait_all_tasks_blocked()
        assert not relieved.is_set()
        await anyio.to_thread.run_sync(board.pressure, 1)
        await watch.report()
        with anyio.fail_after(2):
            await relieved.wait()


async def test_two_reasons_press_until_both_are_gone() -> None:
    pressure = Pressure()
    assert pressure.judge("temperature", 90, 80, 75, "hot") == "hot"
    assert pressure.judge("memory", 30, 10, 5, "short") == "short"
    reasons = [pressure.reason]
    pressure.judge("temperature", 60, 80, 75, "hot")
    reasons.append(pressure.reason)
    pressure.judge("memory", None, 10, 5, "short")
    assert [*reasons, pressure.reason] == ["hot; short", "short", None]
    with anyio.fail_after(1):
        await pressure.relief()


async def beats_while(work_polls: bool | None) -> tuple[int, int, list[str]]:
    """Beats in half a second before and after the stall limit, and what was warned of."""
    beats: list[float] = []
    async with Lane("model", Worker) as lane:
        watch, bulletin = health(lanes=(lane,), beat=lambda: beats.append(anyio.current_time()))
        async with anyio.create_task_group() as tasks, bulletin.listen() as notices:
            if work_polls is not None:
                tasks.start_soon(lane.call, Worker.work, work_polls)
            tasks.start_soon(watch.run)
            await anyio.sleep(0.5)
            early = len(beats)
            await anyio.sleep(0.4)
            later = len(beats) - early
            warned = [str(notice.fields["text"]) for notice in waiting(notices) if isinstance(notice, Happening)]
            tasks.cancel_scope.cancel()
            lane._engine.let_go.set()  # type: ignore[union-attr]  # it is there: the lane is open
    return early, later, warned


async def test_an_idle_daemon_gives_its_sign_of_life() -> None:
    early, later, warned = await beats_while(None)
    assert early >= 3
    assert later >= 3
    assert warned == []


async def test_an_engine_that_works_for_long_and_polls_keeps_the_sign_of_life() -> None:
    _, later, warned = await beats_while(True)
    assert later >= 3
    assert warned == []


async def test_free_memory_goes_back_at_a_report_while_no_engine_works(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bool] = []

    def give() -> bool:
        given.append(give_back_free_pages())  # the C library's own, counted
        return given[-1]

    monkeypatch.setattr("perslm_daemon.health.give_back_free_pages", give)
    async with Lane("model", Worker) as lane, anyio.create_task_group() as tasks:
        watch, _ = health(lanes=(lane,))
        await watch.report()
        assert len(given) == 1
        tasks.start_soon(lane.call, Worker.work, True)
        with anyio.fail_after(20):
            while lane.busy_since is None:  # noqa: ASYNC110 - of the lane's thread
                await anyio.sleep(0.01)
        await watch.report()
        assert len(given) == 1, "the heaps' locks would hold up whoever works"
        lane._engine.let_go.set()  # type: ignore[union-attr]  # it is there: the lane is open


async def test_an_engine_that_hangs_ends_the_sign_of_life_and_is_named() -> None:
    early, later, warned = await beats_while(False)
    assert early >= 2
    assert later == 0
    assert warned == ["the model engine has given no sign of life for 0.3 s"]


async def test_the_metrics_are_what_prometheus_reads(board: Board) -> None:
    await anyio.to_thread.run_sync(board.temperature, 48.5)
    async with Lane("model", Worker) as lane:
        watch, _ = health(board, lanes=(lane,))
        assert watch.metrics() == ""
        await watch.report()
        text = watch.metrics()
    line = re.compile(r'(# (HELP|TYPE) perslm_[a-z0-9_]+ .+|perslm_[a-z0-9_]+(\{[a-z]+="[a-z-]+"\})? [0-9.e+-]+)')
    assert all(line.fullmatch(row) for row in text.splitlines()), text
    names = [row.split()[2] for row in text.splitlines() if row.startswith("# TYPE")]
    assert len(names) == len(set(names)) >= 8
    assert "perslm_board_temperature_celsius 48.5\n" in text
    assert 'perslm_engine_busy{engine="model"} 0\n' in text
    assert "memory_pressure" not in text  # this board does not tell
