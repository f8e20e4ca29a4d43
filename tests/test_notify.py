"""Notifications: told at once where that makes no noise, kept until each target took them, quiet at night."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, time
from pathlib import Path

import anyio
import pytest

from hook_site import Hook, hook
from perslm_daemon import notify, telling
from perslm_daemon.bench_sentences import Table, learned
from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.config_notify import SUBJECTS, Notify
from perslm_daemon.notify import Notifications, is_quiet
from perslm_daemon.notify_subjects import notice_of, watch, watch_devices
from perslm_runtime.errors import DeviceError, InputError

pytestmark = pytest.mark.anyio
NOON = datetime.fromisoformat("2026-11-27T12:00:00+01:00")
NIGHT = datetime.fromisoformat("2026-11-27T23:30:00+01:00")


@pytest.fixture
def site() -> Iterator[Hook]:
    with hook() as served:
        yield served


class House:
    """Notifications with a voice that notes what it says, and a clock that is set by hand."""

    def __init__(self, folder: Path, config: Notify) -> None:
        self.said: list[str] = []
        self.silent = False
        self.now = NOON
        self.bulletin = Bulletin()
        post = telling._post(config) if config.webhook else None
        self.told = Notifications(
            config, folder / "notifications.json", self.bulletin, lambda: self.now, self.speak, post
        )

    async def speak(self, text: str) -> None:
        if self.silent:
            raise DeviceError("there is no loudspeaker")
        self.said.append(text)


@asynccontextmanager
async def house(folder: Path, config: Notify) -> AsyncIterator[House]:
    here = House(folder, config)
    await here.told.open()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.told.run)
        yield here
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not true():  # noqa: ASYNC110 - only looking tells
            await anyio.sleep(0.01)


async def test_a_notice_goes_to_voice_webhook_and_bulletin_by_its_urgency(tmp_path: Path, site: Hook) -> None:
    token = tmp_path / "token"
    await anyio.Path(token).write_text("tk_secret\n", encoding="utf-8")
    config = Notify(webhook=f"{site.address}/perslm", token_file=token)
    async with house(tmp_path, config) as here, here.bulletin.listen() as listener:
        await here.told.put("The washing is done", title="Wäsche", urgency="high")
        await here.told.put("It rains")
        await here.told.put("A fly flies", urgency="low")
        await until(lambda: len(site.posted) == 2 and not here.told.undelivered)
        assert here.said == ["Wäsche: The washing is done"]
        path, headers, text = site.posted[0]
        assert (path, text) == ("/perslm", "The washing is done")
        assert headers["Title"] == "=?UTF-8?B?V8Okc2NoZQ==?="
        assert (headers["Priority"], headers["Authorization"]) == ("4", "Bearer tk_secret")
        assert site.posted[1][2] == "It rains"
        told = [notice async for notice in _all(listener)]
        events = [one.fields["text"] for one in told if isinstance(one, Happening)]
        assert events == ["The washing is done", "It rains", "A fly flies"]
        shown = here.bulletin.current()["notifications"]
        assert [one["urgency"] for one in shown] == ["high", "normal", "low"]
        assert await here.told.seen(shown[0]["id"]) == 1
        assert await here.told.seen() == 2
        assert here.bulletin.current()["notifications"] == []


async def _all(listener: object) -> AsyncIterator[object]:
    try:
        while True:
            yield listener.receive_nowait()  # type: ignore[attr-defined]  # a listener
    except anyio.WouldBlock:
        return


async def test_quiet_hours_hold_back_what_is_not_urgent_until_they_end(tmp_path: Path, site: Hook) -> None:
    config = Notify(webhook=site.address, voice="normal", quiet="22:00-07:00")
    async with house(tmp_path, config) as here:
        here.now = NIGHT
        await here.told.put("The update is in use")
        await here.told.put("There is water", urgency="urgent")
        await until(lambda: [one.notice.text for one in here.told.undelivered] == ["The update is in use"])
        assert (len(site.posted), here.said) == (1, ["There is water"])
        here.now = NOON
        await here.told.put("Good morning")  # wakes it, as the next look at the clock would
        await until(lambda: not here.told.undelivered)
        assert here.said == ["There is water", "The update is in use", "Good morning"]


async def test_what_cannot_be_delivered_is_kept_over_a_restart_and_delivered_then(
    tmp_path: Path, site: Hook
) -> None:
    config = Notify(webhook=site.address)
    site.statuses = [503, 503]
    async with house(tmp_path, config) as here:
        here.silent = True
        await here.told.put("The cellar is wet", urgency="urgent")
        await until(lambda: site.asked == 1)
        assert [one.left for one in here.told.undelivered] == [("voice", "webhook")]
    site.statuses = []
    async with house(tmp_path, config) as here:
        await until(lambda: not here.told.undelivered)
        assert here.said == ["The cellar is wet"]
        assert [text for _, _, text in site.posted] == ["The cellar is wet"]
    async with house(tmp_path, config) as here:
        assert here.told.undelivered == ()
        assert [one.text for one in here.told.unseen] == ["The cellar is wet"]


async def test_an_address_that_refuses_for_good_is_told_and_not_tried_again(tmp_path: Path, site: Hook) -> None:
    site.statuses = [403]
    async with house(tmp_path, Notify(webhook=site.address)) as here, here.bulletin.listen() as listener:
        await here.told.put("hello")
        await until(lambda: not here.told.undelivered)
        warnings = [
            one.fields
            async for one in _all(listener)
            if isinstance(one, Happening) and one.event_type == "warning"
        ]
        assert [one["what"] for one in warnings] == ["notify"]
        assert notice_of(Happening("warning", warnings[0])) is None, "else it would be told for ever"


async def test_a_target_that_is_switched_off_and_an_old_notice_are_given_up(tmp_path: Path, site: Hook) -> None:
    site.statuses = [503] * 9
    async with house(tmp_path, Notify(webhook=site.address, voice="off")) as here:
        await here.told.put("hello")
        await until(lambda: site.asked == 1)
    async with house(tmp_path, Notify(voice="off")) as here:
        await until(lambda: not here.told.undelivered)


async def test_at_most_200_are_kept_and_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "notifications.json"
    await anyio.Path(file).write_bytes(b"[{")
    async with house(tmp_path, Notify(voice="off")) as here:
        assert await anyio.Path(f"{file}.damaged").read_bytes() == b"[{"
        here.told._kept = [
            notify.Waiting(notify.Notice(str(number), "old", at="2026-11-27T00:00:00+00:00"))
            for number in range(notify.MOST_KEPT)
        ]
        await here.told.put("new")
        assert len(here.told.unseen) == notify.MOST_KEPT
        assert here.told.unseen[-1].text == "new"
        with pytest.raises(InputError, match="nothing to tell"):
            await here.told.put(" ")
        with pytest.raises(InputError, match="urgency"):
            await here.told.put("x", urgency="very")


async def test_events_become_notices_once_and_an_answered_question_is_no_news(tmp_path: Path) -> None:
    async with house(tmp_path, Notify()) as here, anyio.create_task_group() as tasks:
        tasks.start_soon(watch, here.bulletin, here.told, frozenset(SUBJECTS))
        await anyio.wait_all_tasks_blocked()
        tell = here.bulletin.tell
        tell("timer_ringing", id="1", kind="reminder", name="", text="call Ana", seconds=5)
        tell("timer_ringing", id="2", kind="timer", name="pasta", seconds=5)
        tell("timer_missed", id="3", kind="alarm", name="", seconds=5)
        tell("update", step="downloading", name="llm")
        tell("update", step="rolled_back", name="llm", why="it answered worse")
        tell("approval", id="a", outcome="asked", question="Shall I empty the list?", tool="list_clear")
        tell("warning", message="the microphone is gone")
        await until(lambda: len(here.told.unseen) == 6)
        texts = {one.text: (one.subject, one.urgency) for one in here.told.unseen}
        assert texts["Reminder: call Ana."] == ("reminders", "high")
        assert texts["The pasta timer is up."] == ("timers", "normal")
        assert texts["Alarm. It rang while PersLM was off."] == ("alarms", "high")
        assert texts["The model llm was taken back: it answered worse"] == ("updates", "normal")
        assert texts["Shall I empty the list?"] == ("approvals", "high")
        tell("approval", id="a", outcome="expired", tool="list_clear")
        await until(lambda: len(here.told.unseen) == 5)
        assert here.said == ["Alarm. It rang while PersLM was off."], "what rings by itself is not said twice"
        tasks.cancel_scope.cancel()


async def test_smoke_and_an_empty_battery_are_told_once_each_time(tmp_path: Path) -> None:
    devices = [
        {
            "name": "Attic Smoke",
            "domain": "binary_sensor",
            "area": "Attic",
            "kind": "smoke",
            "states": {"state": "OFF"},
        },
        {"name": "Door Battery", "domain": "sensor", "area": "Hall", "kind": "battery", "states": {"state": "80"}},
    ]
    async with (
        learned(Table(devices, {})) as home,
        house(tmp_path, Notify()) as here,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(watch_devices, home, here.told, frozenset(("devices",)))
        await anyio.sleep(0.1)
        assert here.told.unseen == ()
        home.take("sim/0/state", b"ON", False)
        home.take("sim/1/state", b"4", False)
        await until(lambda: len(here.told.unseen) == 2)
        assert {one.text: one.urgency for one in here.told.unseen} == {
            "Attic Smoke: there is smoke.": "urgent",
            "Door Battery: its battery is low.": "normal",
        }
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("hours", "at", "quiet"),
    [
        ("22:00-07:00", "23:30", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("22:00-07:00", "12:00", False),
        ("13:00-15:00", "14:00", True),
        ("13:00-15:00", "15:00", False),
    ],
)
def test_quiet_hours_may_go_over_midnight(hours: str, at: str, quiet: bool) -> None:
    assert is_quiet(hours, time.fromisoformat(at)) is quiet
