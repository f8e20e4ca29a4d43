"""`perslm timers` against a control socket with a real schedule behind it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import anyio.to_thread
import pytest

from clocks import SetClock
from command_line import PROGRAM, environment
from perslm_daemon.bulletin import Bulletin
from perslm_daemon.cli_timers import seconds_of
from perslm_daemon.config_sections import Timers
from perslm_daemon.control import ControlSocket
from perslm_daemon.control_client import SOCKET_NAME
from perslm_daemon.schedule import NoSound, Schedule
from perslm_daemon.schedule_file import ScheduleFile
from perslm_daemon.timer_verb import TimerArgs, timer
from perslm_daemon.turn import Tell
from perslm_daemon.verbs import Request, Verb, Verbs
from perslm_runtime.errors import InputError


async def typed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    run = partial(
        subprocess.run,
        [*PROGRAM, "timers", *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return await anyio.to_thread.run_sync(run)


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[Schedule, SetClock]]:
    folder, bulletin, clock = home / "data", Bulletin(), SetClock()
    await anyio.Path(folder).mkdir(mode=0o700)
    schedule = Schedule(
        Timers(), ScheduleFile(folder / "timers.json"), clock, ZoneInfo("Europe/Berlin"), bulletin, NoSound()
    )
    await schedule.open()

    async def run(args: TimerArgs, _request: Request, _tell: Tell) -> Mapping[str, Any]:
        return await timer(schedule, args)

    served = ControlSocket(
        folder / SOCKET_NAME, Verbs({"timer": Verb("timer", TimerArgs, "timers", run)}), bulletin
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(served.serve)
        yield schedule, clock
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_timers_are_set_listed_held_and_cancelled_from_the_terminal(tmp_path: Path) -> None:
    async with running(tmp_path) as (schedule, clock):
        none = await typed(tmp_path, "list")
        assert (none.returncode, none.stdout) == (0, "")
        assert "no timers" in none.stderr
        made = await typed(tmp_path, "set", "10m", "--name", "pasta")
        assert made.returncode == 0, made.stderr
        assert made.stdout.split()[1:] == ["timer", "running", "0:10:00", "2026-11-27T21:10:00+01:00", "pasta"]
        alarm = await typed(tmp_path, "set", "--at", "every weekday at seven", "--json")
        assert '"every": [0, 1, 2, 3, 4]' in alarm.stdout
        paused = await typed(tmp_path, "pause", "pasta")
        assert "paused" in paused.stdout
        wrong = await typed(tmp_path, "resume", "roast")
        assert (wrong.returncode, "called 'roast'" in wrong.stderr) == (3, True)
        assert "running" in (await typed(tmp_path, "resume", made.stdout.split()[0])).stdout
        clock.advance(600)
        await schedule.look()
        assert "snoozed" in (await typed(tmp_path, "snooze", "two minutes")).stdout
        assert len((await typed(tmp_path, "list")).stdout.splitlines()) == 2
        assert (await typed(tmp_path, "cancel", "--all")).stdout.count("cancelled") == 2
        assert schedule.views() == []


@pytest.mark.anyio
async def test_without_a_running_perslm_it_says_how_to_start_one(tmp_path: Path) -> None:
    ended = await typed(tmp_path, "list")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "perslm run" in ended.stderr


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("ten minutes", 600),
        ("2 hours", 7200),
    ],
)
def test_durations_are_read_as_people_type_them(duration: str, seconds: float) -> None:
    assert seconds_of(duration) == seconds


@pytest.mark.parametrize("duration", ["", "soon", "-5", "10x", "m", "at seven"])
def test_what_is_no_duration_is_told(duration: str) -> None:
    with pytest.raises(InputError, match="no duration"):
        seconds_of(duration)
