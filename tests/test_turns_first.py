"""Work in the background lets a turn go first, and goes on after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from perslm_daemon.turns_first import TurnsFirst
from perslm_runtime.lane import Cancelled, Stop

pytestmark = pytest.mark.anyio


async def test_a_thread_waits_while_a_turn_runs_and_stops_when_it_is_told_to() -> None:
    turns = TurnsFirst(0)
    done: list[str] = []

    def work() -> None:
        turns.hold(Stop())
        done.append("went on")

    turns.activity("processing")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, work)
        await anyio.sleep(0.1)
        assert done == []
        turns.activity("responding")
        turns.activity("idle")
    assert done == ["went on"]
    turns.activity("processing")
    stop = Stop()
    stop.set()
    with pytest.raises(Cancelled):
        await anyio.to_thread.run_sync(turns.hold, stop)


async def test_idle_is_a_time_without_a_turn() -> None:
    turns = TurnsFirst(0.2)
    await turns.idle()
    turns.activity("processing")
    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turns.idle)
        await anyio.sleep(0.05)
        turns.activity("idle")
    assert anyio.current_time() - began >= 0.25


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def state_becomes(pid: int, wanted: str) -> None:
    with anyio.fail_after(30):
        while await anyio.to_thread.run_sync(state_of, pid) != wanted:  # noqa: ASYNC110 - no event tells it
            await anyio.sleep(0.01)


async def test_a_process_is_stopped_for_as_long_as_a_turn_lasts_and_goes_on_when_nobody_watches() -> None:
    turns = TurnsFirst(0)
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    async with await anyio.open_process(argv, stdout=subprocess.DEVNULL) as process:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(turns.give_way, process)
                await state_becomes(process.pid, "S")
                turns.activity("processing")
                await state_becomes(process.pid, "T")
                turns.activity("idle")
                await state_becomes(process.pid, "S")
                turns.activity("processing")
                await state_becomes(process.pid, "T")
                tasks.cancel_scope.cancel()
            await state_becomes(process.pid, "S")
        finally:
            process.kill()
