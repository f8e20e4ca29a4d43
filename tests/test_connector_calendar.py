"""The connector `calendar` in its sandbox, against a real Radicale and .ics files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import radicale_server
from perslm_daemon.plugin_trial import Trial, trial_of
from perslm_daemon.plugin_wire import Shape
from perslm_runtime import landlock
from perslm_runtime.errors import PluginRefused
from plugin_site import needs
from radicale_server import PASSWORD, USER, Radicale

pytestmark = [
    needs("icalendar", "recurring_ical_events", "radicale"),
    pytest.mark.skipif(landlock.version() < 1, reason="this kernel has no Landlock: plug-ins do not run"),
]

ZONE = ZoneInfo("Europe/Paris")
FRIDAY = datetime(2026, 11, 27, 10, 0, tzinfo=ZONE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Radicale]:
    with radicale_server.running(tmp_path_factory.mktemp("radicale")) as running:
        yield running


@pytest.fixture
def radicale(server: Radicale) -> Radicale:
    server.ask("DELETE", f"/{USER}/")
    for name in ("home", "work"):
        server.calendar(name)
    return server


_shape: list[Shape] = []  # of the plug-in, which is the same in each of these tests


@contextmanager
def calendar(folder: Path, now: datetime = FRIDAY, **settings: object) -> Iterator[Trial]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TZ", str(ZONE))
        target = "perslm_daemon.connectors.calendar:plugin"
        with trial_of(
            target,
            "perslm.connectors",
            "calendar",
            folder,
            settings=settings,
            now_s=now.timestamp(),
            shape=_shape[0] if _shape else None,
        ) as made:
            _shape[:] = [made.shape]
            yield made


@contextmanager
def on_server(radicale: Radicale, folder: Path, now: datetime = FRIDAY, **settings: object) -> Iterator[Trial]:
    (folder / "password").write_text(f"{PASSWORD}\n")
    of_server = {"url": radicale.url, "user": USER, "password_file": "password", "calendar": "home"}
    with calendar(folder, now, **{**of_server, **settings}) as made:
        yield made


def event(uid: str, title: str, begins: str, ends: str, *more: str) -> str:
    lines = ("BEGIN:VEVENT", f"UID:{uid}", "DTSTAMP:20260101T000000Z", f"SUMMARY:{title}", begins, ends, *more)
    return "\r\n".join([*lines, "END:VEVENT"])


def test_what_is_added_is_there_and_what_is_in_the_way_is_told_first(radicale: Radicale, tmp_path: Path) -> None:
    with on_server(radicale, tmp_path) as trial:
        assert trial.say("what's on tomorrow").text == "You have nothing tomorrow."
        added = trial.say("add lunch with Ana tomorrow at noon")
        assert added.text == "Lunch with Ana is in the calendar, tomorrow at noon."
        assert trial.say("what is on tomorrow").text == "Tomorrow you have one thing: Lunch with Ana at noon."
        asked = trial.say("put the dentist in my calendar for tomorrow at 12:30")
        assert asked.text.startswith("You have Lunch with Ana from noon to 1:00 PM tomorrow. Shall I add")
        assert len(radicale.files("home")) == 1
        assert asked.then is not None
        trial.call(asked.then.tool, **asked.then.arguments)  # the yes
        said = trial.say("what do I have tomorrow").text
        assert said == "Tomorrow you have 2 things: Lunch with Ana at noon and The dentist at 12:30 PM."
        beside = trial.say("schedule coffee tomorrow at 1:30 pm for half an hour")
        assert beside.then is None  # the dentist ends when it begins
    assert len(radicale.files("home")) == 3
    assert radicale.files("work") == []
    assert all("DTSTART:20261128T" in text for text in radicale.files("home"))


def test_a_series_keeps_its_hour_when_the_clocks_change_and_loses_one_day_alone(
    radicale: Radicale, tmp_path: Path
) -> None:
    with on_server(radicale, tmp_path) as trial:
        said = trial.say("add yoga every Monday at six pm").text
        assert said == "Yoga is in the calendar, every Monday at 6:00 PM."
        (file,) = radicale.files("home")
        assert "DTSTART;TZID=Europe/Paris:20261130T180000" in file
        assert "RRULE:FREQ=WEEKLY;BYDAY=MO" in file
    summer = datetime(2027, 4, 5, 9, 0, tzinfo=ZONE)
    with on_server(radicale, tmp_path, summer) as trial:
        assert trial.say("what is on today").text == "Today you have one thing: Yoga at 6:00 PM."
        asked = trial.say("cancel my yoga on Monday")
        assert asked.text == "Shall I remove Yoga at 6:00 PM today, only that one time?"
        assert trial.say("what is on today").text != "You have nothing today."
        assert asked.then is not None
        trial.call(asked.then.tool, **asked.then.arguments)
        assert trial.say("what is on today").text == "You have nothing today."
    with on_server(radicale, tmp_path, summer + timedelta(days=7)) as trial:
        assert trial.say("what is on today").text == "Today you have one thing: Yoga at 6:00 PM."


def test_series_with_exceptions_and_other_zones_are_read_right(radicale: Radicale, tmp_path: Path) -> None:
    york = "TZID=America/New_York"
    radicale.put(
        "work",
        "standup",
        event(
            "s",
            "Standup",
            f"DTSTART;{york}:20261102T090000",
            f"DTEND;{york}:20261102T093000",
            "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
            f"EXDATE;{york}:20261201T090000",
        )
        + "\r\n"
        + event(
            "s",
            "Standup\\, later",
            f"DTSTART;{york}:20261202T110000",
            f"DTEND;{york}:20261202T113000",
            f"RECURRENCE-ID;{york}:20261202T090000",
        ),
    )
    radicale.put(
        "home",
        "gone",
        event("g", "Gone", "DTSTART:20261130T090000Z", "DTEND:20261130T100000Z", "STATUS:CANCELLED"),
    )
    radicale.put(
        "home", "party", event("p", "Ana’s party", "DTSTART;VALUE=DATE:20261203", "DTEND;VALUE=DATE:20261204")
    )
    with on_server(radicale, tmp_path) as trial:
        assert trial.say("what is on today").text == "Today you have one thing: Standup at 3:00 PM."
        assert trial.say("what is on on Tuesday").text == "You have nothing on Tuesday."
        assert "Standup, later at 5:00 PM" in trial.say("what do I have on Wednesday").text
        week = trial.say("what is on next week")
        assert [one["title"] for one in week.data["events"]] == [
            "Standup",
            "Standup, later",
            "Ana’s party",
            "Standup",
            "Standup",
        ]
        assert trial.say("am I free on Thursday").text.endswith("It is Ana’s party.")
        assert (
            trial.say("am I free on Thursday at nine").text
            == "Yes, you are free on Thursday at 9:00 AM. It is Ana’s party."
        )
        assert trial.say("when is my next party").text == "Ana’s party is on Thursday, all day."


def test_files_are_read_and_take_nothing_new(tmp_path: Path) -> None:
    text = event("b", "Bin day", "DTSTART;VALUE=DATE:20261127", "DTEND;VALUE=DATE:20261128", "RRULE:FREQ=WEEKLY")
    (tmp_path / "town.ics").write_text(
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{text}\r\nEND:VCALENDAR\r\n"
    )
    (tmp_path / "broken.ics").write_text("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:never\r\n")
    with calendar(tmp_path, files=["town.ics"]) as trial:
        assert trial.say("what is on today").text == "Today you have one thing: Bin day, all day."
        with pytest.raises(PluginRefused, match="can only be read"):
            trial.say("add lunch tomorrow at noon")
        with pytest.raises(PluginRefused, match="a calendar that can only be read"):
            trial.say("delete bin day from my calendar")
    with calendar(tmp_path, files=["broken.ics"]) as trial, pytest.raises(PluginRefused, match="cannot be read"):
        trial.say("what is on today")


def test_what_begins_soon_is_noticed(radicale: Radicale, tmp_path: Path) -> None:
    from perslm_daemon import plugin_wire as wire
    from perslm_runtime.lane import Stop

    with on_server(radicale, tmp_path) as trial:
        trial.say("add dentist today at 10:08 am")
        trial.say("add tea today at 4 pm")
        asked = wire.Watch(FRIDAY.timestamp())
        found = trial._process.ask(Stop(), asked, wire.Noticed, 30).notices
    assert [one.text for one in found] == ["Dentist begins in 8 minutes, at 10:08 AM."]


def test_what_the_server_refuses_is_said_without_the_password(radicale: Radicale, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("sesame")
    wrong = {"password_file": "wrong"}
    with (
        on_server(radicale, tmp_path, **wrong) as trial,
        pytest.raises(PluginRefused, match="does not take the user and password") as caught,
    ):
        trial.say("what is on today")
    assert "sesame" not in str(caught.value)
    with (
        on_server(radicale, tmp_path, calendar="holidays") as trial,
        pytest.raises(PluginRefused, match=r"it has (home, work|work, home)"),
    ):
        trial.say("add lunch tomorrow at noon")


def test_a_password_leaves_this_network_only_encrypted(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("sesame")
    of_server = {"url": "http://calendar.example.org/", "user": "ana", "password_file": "password"}
    with calendar(tmp_path, **of_server) as trial, pytest.raises(PluginRefused, match="unencrypted: use https"):
        trial.say("what is on today")


@pytest.mark.parametrize(
    "sentence",
    [
        "turn on the light",
        "what's on in the kitchen",
        "what is the weather tomorrow",
        "remind me to call mum tomorrow at nine",
        "wake me tomorrow at seven",
        "set a timer for ten minutes",
        "add milk to the shopping list",
        "add five minutes to the timer",
        "cancel all alarms",
        "what's up",
        "what's new",
        "is the heating on",
        "when is the train",
        "delete everything",
    ],
)
def test_what_is_not_about_the_calendar_is_left_to_others(sentence: str, understood: Trial) -> None:
    assert understood.understood(sentence) is None


@pytest.fixture(scope="module")
def understood(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with calendar(tmp_path_factory.mktemp("calendar"), files=[os.devnull]) as made:
        yield made
