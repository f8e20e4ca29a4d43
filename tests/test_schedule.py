"""Timers, alarms and reminders over sleep, restarts, power cuts, clocks that are wrong, and full disks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import pytest

from clocks import SetClock
from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.config_sections import Timers
from perslm_daemon.schedule import MOST, NoSound, Ringer, Schedule
from perslm_daemon.schedule_file import Kind, ScheduleFile, State, TimersNotKept
from perslm_runtime.errors import DeviceError, InputError

pytestmark = pytest.mark.anyio

BERLIN = ZoneInfo("Europe/Berlin")
ROUNDS = int(os.environ.get("PERSLM_STRESS_ROUNDS", "10"))


class Told(Bulletin):
    """A bulletin that also keeps every event."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def _tell(self, notice: object) -> None:
        if isinstance(notice, Happening):
            self.events.append((notice.event_type, dict(notice.fields)))

    @property
    def types(self) -> list[str]:
        return [event_type for event_type, _ in self.events]


class Bell:
    """A loudspeaker that writes down what it is told to say; `troubled` has no device."""

    def __init__(self, *, troubled: bool = False) -> None:
        self.said: list[str] = []
        self.troubled = troubled
        self.cut = 0

    async def ring(self, text: str) -> None:
        self.said.append(text)
        if self.troubled:
            raise DeviceError("there is no loudspeaker")
        try:
            await anyio.sleep(0.02)
        except anyio.get_cancelled_exc_class():
            self.cut += 1
            raise


async def opened(
    folder: Path,
    clock: SetClock,
    *,
    ringer: Ringer | None = None,
    wanted: Timers | None = None,
    zone: ZoneInfo = BERLIN,
) -> tuple[Schedule, Told]:
    told = Told()
    schedule = Schedule(
        wanted or Timers(), ScheduleFile(folder / "timers.json"), clock, zone, told, ringer or NoSound()
    )
    await schedule.open()
    return schedule, told


def states(schedule: Schedule) -> dict[str, str]:
    return {view.item.called: view.item.state.value for view in schedule.views()}


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not true():  # noqa: ASYNC110 - what is waited for tells nobody when it happens
            await anyio.sleep(0.005)


async def test_a_timer_rings_when_its_time_is_up_and_not_before(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, told = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600, name="pasta")
    clock.advance(599)
    assert await schedule.look() == pytest.approx(1.0)
    assert states(schedule) == {"pasta timer": "running"}
    clock.advance(1)
    await schedule.look()
    assert states(schedule) == {"pasta timer": "ringing"}
    assert schedule.ring_text() == "The pasta timer is done."
    assert told.types == ["timer_started", "timer_ringing"]
    assert [one.name for one in await schedule.stop()] == ["pasta"]
    assert told.types[-1] == "timer_finished"
    assert schedule.views() == []


async def test_the_bulletin_always_has_what_there_is_and_what_comes_next(tmp_path: Path) -> None:
    schedule, told = await opened(tmp_path, SetClock())
    assert told.current()["timers"] == []
    assert told.current()["next_timer"] == {"at": None, "id": None, "name": None}
    await schedule.add(Kind.TIMER, seconds=900, name="egg")
    soon = await schedule.add(Kind.TIMER, seconds=60)
    await schedule.add(Kind.ALARM, local=datetime(2026, 11, 28, 7))
    values = told.current()
    assert [one["name"] for one in values["timers"]] == ["", "egg", ""]
    assert values["next_timer"] == {"at": "2026-11-27T21:01:00+01:00", "id": soon.id, "name": ""}
    assert values["next_alarm"]["at"] == "2026-11-28T07:00:00+01:00"
    json.dumps(values)


async def test_paused_time_does_not_count(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    item = await schedule.add(Kind.TIMER, seconds=600)
    clock.advance(100)
    await schedule.pause(item)
    clock.advance(5000)
    await schedule.look()
    (view,) = schedule.views()
    assert (view.item.state, view.seconds_left) == (State.PAUSED, pytest.approx(500))
    with pytest.raises(InputError, match="cannot be paused"):
        await schedule.pause(view.item)
    await schedule.resume(view.item)
    clock.advance(499)
    await schedule.look()
    assert states(schedule) == {"10 minute timer": "running"}
    with pytest.raises(InputError, match="not paused"):
        await schedule.resume(schedule.views()[0].item)


async def test_time_is_added_and_taken_and_what_runs_out_by_it_rings(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    item = await schedule.add(Kind.TIMER, seconds=60, name="tea")
    clock.advance(50)
    item = await schedule.change(item, 300)
    assert schedule.views()[0].seconds_left == pytest.approx(310)
    await schedule.change(item, -400)
    await schedule.look()
    assert states(schedule) == {"tea timer": "ringing"}


async def test_a_restart_of_the_daemon_changes_nothing(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600, name="pasta")
    await schedule.add(Kind.REMINDER, seconds=1200, text="call Ana")
    clock.advance(200)
    again, told = await opened(tmp_path, clock)
    await again.look()
    assert [round(view.seconds_left or 0) for view in again.views()] == [400, 1000]
    assert told.types == []


async def test_what_ran_out_while_the_power_was_off_is_announced_late_and_says_so(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600, name="pasta")
    clock.advance(300)
    clock.power_cut(off_s=300 + 12 * 60)
    again, told = await opened(tmp_path, clock)
    await again.look()
    assert again.ring_text() == "The pasta timer ran out 12 minutes ago while I was off."
    assert told.events == [
        (
            "timer_ringing",
            {"id": again.ringing[0].id, "kind": "timer", "name": "pasta", "seconds": 600, "late_s": 720},
        )
    ]


async def test_what_still_runs_after_a_power_cut_has_lost_the_time_that_passed(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600)
    clock.power_cut(off_s=100)
    again, _ = await opened(tmp_path, clock)
    await again.look()
    assert again.views()[0].seconds_left == pytest.approx(500)
    clock.advance(499)
    await again.look()
    assert again.ringing == []
    clock.advance(1)
    await again.look()
    assert len(again.ringing) == 1


@pytest.mark.parametrize(
    ("off", "rings"), [("2026-11-27T20:05:00+00:00", False), ("2026-11-27T20:30:00+00:00", True)]
)
async def test_without_the_time_it_is_unknown_until_the_clock_is_set(
    tmp_path: Path, off: str, rings: bool
) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600, name="pasta")
    clock.power_cut(off_s=0, known=False)
    again, told = await opened(tmp_path, clock)
    for _ in range(3):
        clock.advance(3600)
        await again.look()
    assert states(again) == {"pasta timer": "unknown"}
    assert again.views()[0].seconds_left is None
    assert told.types == ["timer_updated"]
    clock.set_to(off)
    await again.look()
    assert states(again) == {"pasta timer": "ringing" if rings else "running"}
    if not rings:
        assert again.views()[0].seconds_left == pytest.approx(300)


async def test_a_timer_set_before_the_time_was_known_runs_in_time_and_after_a_power_cut_says_it_may_have_run_out(
    tmp_path: Path,
) -> None:
    clock = SetClock("1970-01-01T00:01:00+00:00", known=False)
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=60, name="tea")
    await schedule.add(Kind.TIMER, seconds=600, name="pasta")
    clock.advance(60)
    await schedule.look()
    assert schedule.ring_text() == "The tea timer is done."
    await schedule.stop()
    clock.power_cut(off_s=0, known=False)
    again, _ = await opened(tmp_path, clock)
    await again.look()
    assert states(again) == {"pasta timer": "unknown"}
    clock.set_to("2026-11-27T20:00:00+00:00")
    await again.look()
    assert "may have run out while I was off" in again.ring_text()


async def test_a_timer_learns_the_time_when_the_clock_is_set_and_then_survives_a_power_cut(tmp_path: Path) -> None:
    clock = SetClock("1970-01-01T00:01:00+00:00", known=False)
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600)
    clock.advance(60)
    clock.set_to("2026-11-27T20:00:00+00:00")
    await schedule.look()
    assert schedule.views()[0].seconds_left == pytest.approx(540)
    clock.power_cut(off_s=240)
    again, _ = await opened(tmp_path, clock)
    await again.look()
    assert again.views()[0].seconds_left == pytest.approx(300)


async def test_a_running_timer_does_not_care_for_the_wall_clock(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600)
    for wall in ("2031-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"):
        clock.set_to(wall)
        await schedule.look()
        assert schedule.views()[0].seconds_left == pytest.approx(600)
    clock.power_cut(off_s=500)
    again, _ = await opened(tmp_path, clock)
    await again.look()
    assert again.views()[0].seconds_left == pytest.approx(100)


async def test_what_is_much_too_late_is_missed_and_does_not_ring_in_the_night(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=600, name="pasta")
    clock.power_cut(off_s=8 * 3600)
    again, told = await opened(tmp_path, clock)
    await again.look()
    assert states(again) == {"pasta timer": "missed"}
    assert told.types == ["timer_missed"]
    clock.advance(90_000)
    await again.look()
    assert again.views() == []


async def test_it_rings_again_and_again_until_it_is_stopped(tmp_path: Path) -> None:
    clock, bell = SetClock(), Bell()
    schedule, _ = await opened(tmp_path, clock, ringer=bell, wanted=Timers(pause_s=0.1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schedule.run)
        await schedule.add(Kind.TIMER, seconds=5, name="pasta")
        clock.advance(5)
        schedule._changed.set()
        await until(lambda: len(bell.said) >= 3)
        await schedule.add(Kind.TIMER, seconds=5, name="egg")
        clock.advance(5)
        schedule._changed.set()
        await until(lambda: "The pasta timer is done. The egg timer is done." in bell.said)
        await schedule.stop()
        before = len(bell.said)
        await anyio.sleep(0.3)
        assert len(bell.said) == before
        tasks.cancel_scope.cancel()


async def test_stopping_cuts_the_ringing_in_the_middle(tmp_path: Path) -> None:
    class Long(Bell):
        async def ring(self, text: str) -> None:
            self.said.append(text)
            try:
                await anyio.sleep(60)
            except anyio.get_cancelled_exc_class():
                self.cut += 1
                raise

    clock, bell = SetClock(), Long()
    schedule, _ = await opened(tmp_path, clock, ringer=bell)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schedule.run)
        await schedule.add(Kind.TIMER, seconds=1)
        clock.advance(1)
        schedule._changed.set()
        await until(lambda: bool(bell.said))
        await schedule.stop()
        await until(lambda: bell.cut == 1)
        tasks.cancel_scope.cancel()


async def test_a_loudspeaker_that_fails_does_not_end_the_schedule(tmp_path: Path) -> None:
    clock, bell = SetClock(), Bell(troubled=True)
    schedule, _ = await opened(tmp_path, clock, ringer=bell, wanted=Timers(pause_s=0.1))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(schedule.run)
        await schedule.add(Kind.TIMER, seconds=1)
        clock.advance(1)
        schedule._changed.set()
        await until(lambda: len(bell.said) >= 2)
        tasks.cancel_scope.cancel()


async def test_what_is_snoozed_rings_again_later(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, told = await opened(tmp_path, clock, wanted=Timers(snooze_s=300))
    await schedule.add(Kind.ALARM, local=datetime(2026, 11, 27, 22))
    clock.advance(3600)
    await schedule.look()
    assert schedule.ring_text() == "It is 10:00 PM."
    await schedule.snooze()
    assert states(schedule) == {"alarm": "snoozed"}
    clock.advance(299)
    await schedule.look()
    assert schedule.ringing == []
    clock.advance(1)
    await schedule.look()
    assert len(schedule.ringing) == 1
    await schedule.snooze(60)
    clock.advance(60)
    await schedule.look()
    assert len(schedule.ringing) == 1
    assert told.types.count("timer_ringing") == 3


async def test_nobody_comes_and_it_is_kept_as_missed(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, told = await opened(tmp_path, clock, wanted=Timers(ring_s=120))
    await schedule.add(Kind.TIMER, seconds=60, name="pasta")
    clock.advance(60)
    await schedule.look()
    clock.advance(119)
    await schedule.look()
    assert states(schedule) == {"pasta timer": "ringing"}
    clock.advance(1)
    await schedule.look()
    assert states(schedule) == {"pasta timer": "missed"}
    assert schedule.ring_text() == ""
    assert told.types[-1] == "timer_missed"
    await schedule.cancel([schedule.views()[0].item])
    assert schedule.views() == []


async def test_what_was_ringing_when_the_daemon_died_rings_again(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=60, name="pasta")
    clock.advance(60)
    await schedule.look()
    clock.advance(30)
    again, _ = await opened(tmp_path, clock)
    await again.look()
    assert again.ring_text() == "The pasta timer ran out 30 seconds ago while I was off."


@pytest.mark.parametrize(
    ("set_at", "hours"),
    [
        ("2026-03-28T19:00:00+01:00", 11),  # clocks go forward that night
        ("2026-10-24T19:00:00+02:00", 13),  # clocks go back that night
        ("2026-06-01T19:00:00+02:00", 12),
    ],
)
async def test_tomorrow_at_seven_is_seven_on_the_wall(tmp_path: Path, set_at: str, hours: int) -> None:
    clock = SetClock(set_at)
    schedule, _ = await opened(tmp_path, clock)
    now = schedule.now()
    assert now is not None
    local = now.replace(hour=7, day=now.day + 1 if now.day < 30 else 1, tzinfo=None)
    await schedule.add(Kind.ALARM, local=local)
    assert schedule.views()[0].seconds_left == pytest.approx(hours * 3600)
    clock.advance(hours * 3600)
    await schedule.look()
    assert schedule.ring_text() == "It is 7:00 AM."


async def test_an_alarm_follows_the_wall_clock_when_it_is_set(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.ALARM, local=datetime(2026, 11, 28, 7))
    clock.set_to("2026-11-28T05:00:00+00:00")
    await schedule.look()
    assert schedule.views()[0].seconds_left == pytest.approx(3600)
    clock.set_to("2026-11-28T06:00:01+00:00")
    await schedule.look()
    assert len(schedule.ringing) == 1


async def test_every_weekday_at_seven_rings_on_weekdays_only(tmp_path: Path) -> None:
    clock = SetClock("2026-11-27T05:00:00+00:00")  # a Friday, 6:00 in Berlin
    schedule, told = await opened(tmp_path, clock)
    local = datetime(2026, 11, 27, 7)
    await schedule.add(Kind.ALARM, local=local, every=range(5))
    rang = []
    for _ in range(7 * 24):
        clock.advance(3600)
        await schedule.look()
        if schedule.ringing:
            now = schedule.now()
            assert now is not None
            rang.append((now.strftime("%a"), now.hour))
            await schedule.stop()
    assert rang == [("Fri", 7), ("Mon", 7), ("Tue", 7), ("Wed", 7), ("Thu", 7)]
    assert [view.item.state for view in schedule.views()] == [State.RUNNING]
    assert told.types.count("timer_finished") == 5


async def test_what_recurs_rings_once_for_the_last_time_that_was_missed(tmp_path: Path) -> None:
    clock = SetClock("2026-11-27T05:00:00+00:00")
    schedule, _ = await opened(tmp_path, clock)
    local = datetime(2026, 11, 27, 7)
    await schedule.add(Kind.ALARM, local=local, every=range(7))
    clock.power_cut(off_s=3 * 86_400 + 3600 + 600)
    again, told = await opened(tmp_path, clock)
    await again.look()
    assert again.ring_text() == "The alarm for 7:00 AM was due 10 minutes ago while I was off."
    assert told.types == ["timer_ringing"]
    await again.snooze()
    assert [(view.item.state, bool(view.item.every)) for view in again.views()] == [
        (State.SNOOZED, False),
        (State.RUNNING, True),
    ]


async def test_a_time_of_day_needs_a_clock_that_was_set(tmp_path: Path) -> None:
    clock = SetClock("1970-01-01T00:01:00+00:00", known=False)
    schedule, _ = await opened(tmp_path, clock)
    assert schedule.now() is None
    with pytest.raises(InputError, match="clock has not been set"):
        await schedule.add(Kind.ALARM, local=datetime(2026, 11, 28, 7))
    assert schedule.views() == []


@pytest.mark.parametrize("seconds", [0, -1, 400 * 86_400])
async def test_impossible_times_are_refused(tmp_path: Path, seconds: float) -> None:
    schedule, _ = await opened(tmp_path, SetClock())
    with pytest.raises(InputError):
        await schedule.add(Kind.TIMER, seconds=seconds)


async def test_there_are_not_endlessly_many(tmp_path: Path) -> None:
    schedule, _ = await opened(tmp_path, SetClock())
    for _ in range(MOST):
        await schedule.add(Kind.TIMER, seconds=60)
    with pytest.raises(InputError, match=f"{MOST} timers"):
        await schedule.add(Kind.TIMER, seconds=60)


NO_DISK = ScheduleFile(Path("/dev/null/timers.json"))  # as root, a test may write anywhere else


async def test_what_cannot_be_written_is_not_set_and_says_so() -> None:
    schedule = Schedule(Timers(), NO_DISK, SetClock(), BERLIN, Told(), NoSound())
    with pytest.raises(TimersNotKept, match="check the disk"):
        await schedule.add(Kind.TIMER, seconds=60)
    assert schedule.views() == []


async def test_a_disk_that_fills_up_lets_nobody_oversleep(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, told = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=60)
    schedule._file = NO_DISK
    clock.advance(60)
    await schedule.look()
    assert len(schedule.ringing) == 1
    assert told.types == ["timer_started", "timer_ringing"]


async def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    await schedule.add(Kind.TIMER, seconds=60)
    path = tmp_path / "timers.json"
    data = bytearray(await anyio.Path(path).read_bytes())
    data[-10] ^= 1
    await anyio.Path(path).write_bytes(data)
    again, _ = await opened(tmp_path, clock)
    assert again.views() == []
    assert await anyio.Path(tmp_path / "timers.json.damaged").read_bytes() == data
    await again.add(Kind.TIMER, seconds=60)
    assert len((await opened(tmp_path, clock))[0].views()) == 1


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    await anyio.Path(tmp_path / "timers.json").mkdir()
    with pytest.raises(TimersNotKept, match="cannot be read"):
        await opened(tmp_path, SetClock())


async def test_a_cancelled_command_is_done_wholly_or_not_at_all(tmp_path: Path) -> None:
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock)
    for after in range(8):
        with anyio.move_on_after(after * 0.0004):
            await schedule.add(Kind.TIMER, seconds=60, name=str(after))
        kept = {item.id for item in await anyio.to_thread.run_sync(ScheduleFile(tmp_path / "timers.json").load)}
        assert kept == {view.item.id for view in schedule.views()}


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_disk_and_memory_agree_and_nothing_due_is_silent(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a walk, no secrets
    clock = SetClock()
    schedule, _ = await opened(tmp_path, clock, wanted=Timers(ring_s=100, late_s=500))
    for _ in range(60):
        items = [view.item for view in schedule.views()]
        one = chance.choice(items) if items else None
        what = chance.randrange(11)
        try:
            if what < 3 or one is None:
                await schedule.add(Kind.TIMER, seconds=chance.randrange(1, 900))
            elif what == 3:
                await schedule.pause(one)
            elif what == 4:
                await schedule.resume(one)
            elif what == 5:
                await schedule.change(one, chance.randrange(-300, 300))
            elif what == 6:
                await schedule.cancel([one])
            elif what == 7:
                await chance.choice((schedule.stop, schedule.snooze))()
            elif what == 8:
                clock.power_cut(chance.randrange(1, 400), known=chance.random() < 0.7)
                schedule, _ = await opened(tmp_path, clock, wanted=Timers(ring_s=100, late_s=500))
            elif what == 9:
                clock.set_to(f"2026-11-{chance.randrange(10, 28)}T20:00:00+00:00")
            else:
                clock.advance(chance.randrange(1, 300))
        except InputError:
            continue
        assert 0 <= await schedule.look() <= 3600
        kept = await anyio.to_thread.run_sync(ScheduleFile(tmp_path / "timers.json").load)
        assert {item.id: item for item in kept} == {view.item.id: view.item for view in schedule.views()}
        for view in schedule.views():
            waits = view.item.state in {State.RUNNING, State.SNOOZED}
            assert not waits or (view.seconds_left is not None and view.seconds_left > 0), view
            assert view.item.state is not State.UNKNOWN or not clock.known()


@pytest.mark.stress
@pytest.mark.timeout(60 + ROUNDS * 5)
def test_kill_9_at_any_moment_loses_no_timer_that_was_reported_as_set(tmp_path: Path) -> None:
    chance = random.Random(21)  # noqa: S311 - moments, no secrets; the real randomness is the scheduler's
    script = Path(__file__).with_name("schedule_child.py")
    alive: set[str] = set()
    reported = 0
    for _ in range(ROUNDS):
        with subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            lines = []
            timer = threading.Timer(chance.uniform(0.0, 0.08), child.kill)
            for line in child.stdout:
                lines += [line.split()] if line.endswith("\n") else []  # the kill may cut a line short
                if lines == [["ready"]]:
                    timer.start()
            timer.join()
        assert lines[0] == ["ready"], "every start after a kill has to work"
        asked = ""
        for word, name in lines[1:]:
            asked = name if word == "cancelling" else asked
            alive = alive | {name} if word == "set" else alive - {name} if word == "cancelled" else alive
            reported += word in {"set", "cancelled"}
        found = {item.name for item in ScheduleFile(tmp_path / "timers.json").load()}
        assert not (tmp_path / "timers.json.damaged").exists()
        assert alive - {asked} <= found, "a timer that was reported as set is gone"
        assert len(found - alive) <= 1, "more than the one that was being set when it was killed"
        alive = found
    assert reported > ROUNDS
