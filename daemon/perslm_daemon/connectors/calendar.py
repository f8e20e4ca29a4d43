"""The connector `calendar`: what is on, whether one is free, when something is; adds and removes events.

Reads one CalDAV server and any number of .ics addresses and files; writes to the server alone. A plug-in as any
other: it runs in its own process and is told what it is asked through plugin.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from perslm_daemon.connectors import calendar_words as words
from perslm_daemon.connectors.calendar_events import Entry, entries_of, made, without
from perslm_daemon.connectors.calendar_sentences import (
    ADD,
    EVENTS,
    FREE,
    NEXT,
    REMOVE,
    WHEN_IS,
)
from perslm_daemon.connectors.calendar_server import CalendarServer, Shown
from perslm_daemon.connectors.web import Web
from perslm_runtime.plugin import Answer, Argument, Context, Notice, Plugin, Problem, Setting, Then, Tool, When
from perslm_runtime.time_words import say_clock, say_day, say_every
from perslm_runtime.when import PastError, resolve

_AHEAD = timedelta(days=370)
_HOUR, _DAY_MORE = timedelta(hours=1), timedelta(days=1)
_MOST_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Calendars:
    """Everything that the settings name."""

    context: Context

    @property
    def server(self) -> CalendarServer | None:
        """The server, where there is one."""
        of = self.context.settings
        if not of["url"]:
            return None
        return CalendarServer(Web(of["url"], of["user"] or "", of["password"] or ""))

    def between(self, since: datetime, until: datetime) -> list[Entry]:
        """What happens then, of all calendars, the earliest first."""
        zone = self.context.now.tzinfo
        found: list[Entry] = []
        server = self.server
        for shown in self._shown(server):
            if server is None:
                break
            # A day more on both sides: Radicale takes a series' summer hour for its winter hour.
            for file in server.between(shown, since - _DAY_MORE, until + _DAY_MORE):
                found += entries_of(file.text, since, until, zone, href=file.url, etag=file.etag)  # type: ignore[arg-type]  # `now` has a zone
        for text in self._texts():
            found += entries_of(text, since, until, zone)  # type: ignore[arg-type]  # as above
        if server is None and not self.context.settings["ics"] and not self.context.settings["files"]:
            raise Problem(
                "no calendar is named: set `url`, `ics` or `files` under [calendar] in the plug-in settings"
            )
        return sorted(found, key=lambda one: (one.begins, one.title))

    def written(self) -> tuple[CalendarServer, Shown]:
        """Where new events go. Raises `Problem`."""
        server = self.server
        if server is None:
            raise Problem("the calendars here can only be read: set `url` to a CalDAV server to add to it")
        name = self.context.settings["calendar"]
        shown = server.calendars()
        found = next((one for one in shown if not name or one.name.lower() == name.lower()), None)
        if found is None:
            known = ", ".join(one.name for one in shown)
            raise Problem(f"there is no calendar {name!r} on the server: it has {known}")
        return server, found

    def _shown(self, server: CalendarServer | None) -> Sequence[Shown]:
        if server is None:
            return ()
        only = {name.lower() for name in self.context.settings["only"]}
        return [one for one in server.calendars() if not only or one.name.lower() in only]

    def _texts(self) -> list[str]:
        texts = []
        for url in self.context.settings["ics"]:
            reply = Web().ask("GET", url)
            if reply.status != 200:
                raise Problem(f"the calendar at {url.split('/')[2]} cannot be read (HTTP {reply.status})")
            texts.append(reply.body.decode("utf-8", "replace"))
        for file in self.context.settings["files"]:
            try:
                texts.append(Path(file).read_text(encoding="utf-8", errors="replace"))
            except OSError as error:
                raise Problem(f"the calendar file {Path(file).name} cannot be read ({error.strerror})") from error
        return texts


# What is asked


def events(context: Context, day: When | None = None, span: str = "today", about: str = "") -> Answer:
    """What is on in a stretch of time."""
    since, until, called = _span(context, day, span)
    found = Calendars(context).between(since, until)
    if about:
        found = [one for one in found if _fits(about, one.title)]
    several = until - since > timedelta(days=1, hours=2)
    return Answer(
        words.listed(found, called, context.now, days=several), {"events": [_data(one) for one in found]}
    )


def free(context: Context, day: When) -> Answer:
    """Whether one is free then: the whole day, or the hour that begins then."""
    since, until, called = _span(context, day, "")
    if day.hour is not None:
        since = _moment(context, day)
        until, called = since + _HOUR, f"{say_day(since, context.now)} at {say_clock(since)}"
    found = Calendars(context).between(since, until)
    busy = [one for one in found if one.blocks]
    data = {"free": not busy, "events": [_data(one) for one in found]}
    beside = [one.title for one in found if one.whole_day]
    note = f" It is {words.joined(beside)}." if beside else ""
    if not busy:
        return Answer(f"Yes, you are free {called}.{note}", data)
    return Answer(
        f"Not quite. {words.busy(busy, context.now)} {say_day(busy[0].begins, context.now)}.{note}", data
    )


def next_event(context: Context, about: str = "") -> Answer:
    """The next event, or the next one of that name."""
    for days in (8, 60, _AHEAD.days):  # most are near, and a year of a full calendar is many files
        found = Calendars(context).between(context.now, context.now + timedelta(days=days))
        found = [one for one in found if one.begins >= context.now and (not about or _fits(about, one.title))]
        if found:
            return Answer(words.when_said(found[0], context.now), {"events": [_data(found[0])]})
    return Answer(f"I find no {about} in the coming year." if about else "You have nothing in the coming year.")


# What is changed


def add(context: Context, title: str, day: When, lasts: int | None = None, anyway: bool = False) -> Answer:
    """Add an event, unless something is in the way: then ask."""
    title = words.capital(" ".join(title.split()))
    begins = _moment(context, day)
    length = timedelta(seconds=lasts) if lasts else timedelta(minutes=context.settings["minutes"])
    whole = day.hour is None and day.part is None and not lasts
    if whole:
        begins = datetime.combine(begins.date(), time(), context.now.tzinfo)
    ends = begins + (timedelta(days=1) if whole else length)
    calendars = Calendars(context)
    busy = [] if whole or anyway else [one for one in calendars.between(begins, ends) if one.blocks]
    if busy:
        arguments: dict[str, str | int | bool | When] = {"title": title, "day": day, "anyway": True}
        arguments |= {"lasts": lasts} if lasts else {}
        said = f"{words.busy(busy, context.now)} {say_day(begins, context.now)}."
        return Answer(
            f"{said} Shall I add {title} anyway?", {"busy": [_data(one) for one in busy]}, Then("add", arguments)
        )
    server, calendar = calendars.written()
    uid, text = made(title, begins, None if whole else length, day.every)
    server.add(calendar, uid, text)
    when = say_every(day.every) if day.every else say_day(begins, context.now)
    clock = "" if whole else f" at {say_clock(begins)}"
    return Answer(f"{title} is in the calendar, {when}{clock}.", {"uid": uid, "begins": begins.isoformat()})


def remove(context: Context, title: str, day: When | None = None) -> Answer:
    """Find the event that is meant, and ask whether it is to be removed."""
    found = _meant(context, title, day)
    said = words.one_said(found, context.now, day=True)
    only = ", only that one time" if found.repeats else ""
    arguments = {"uid": found.uid, "begins": found.begins.isoformat(), "title": found.title}
    return Answer(f"Shall I remove {said}{only}?", {"events": [_data(found)]}, Then("remove_found", arguments))


def remove_found(context: Context, uid: str, begins: str, title: str) -> Answer:
    """Remove one event; of a series the one occurrence."""
    moment = datetime.fromisoformat(begins).astimezone(context.now.tzinfo)
    calendars = Calendars(context)
    for one in calendars.between(moment, moment + timedelta(minutes=1)):
        if one.uid != uid or one.begins != moment or not one.href or calendars.server is None:
            continue
        server = calendars.server
        lying = [
            file
            for shown in server.calendars()
            for file in server.between(shown, moment - _DAY_MORE, moment + _DAY_MORE)
            if file.url == one.href
        ]
        server.change(one.href, one.etag, without(lying[0].text, one) if lying else None)
        return Answer(f"{one.title} is removed.")
    raise Problem(f"{title} is not there any more")


def _meant(context: Context, title: str, day: When | None) -> Entry:
    since, until = context.now, context.now + timedelta(days=60)
    if day is not None:
        since, until, _ = _span(context, day, "")
    found = [one for one in Calendars(context).between(since, until) if _fits(title, one.title)]
    if not found:
        raise Problem(f"I find no {title} {'then' if day is not None else 'in the coming weeks'}")
    if not found[0].href:
        raise Problem(f"{found[0].title} is in a calendar that can only be read")
    if day is not None and len({one.title for one in found}) > 1:
        names = words.joined(list(dict.fromkeys(one.title for one in found)))
        raise Problem(f"that may be {names}: say which")
    return found[0]


# What it tells by itself


def watch(context: Context) -> list[Notice]:
    """What begins soon."""
    ahead = timedelta(minutes=context.settings["remind_minutes"])
    if not ahead:
        return []
    found = Calendars(context).between(context.now, context.now + ahead)
    begins = [one for one in found if not one.whole_day and one.begins >= context.now]
    return [Notice(f"{one.uid} {one.begins.isoformat()}", words.soon(one, context.now)) for one in begins]


# When


def _span(context: Context, day: When | None, span: str) -> tuple[datetime, datetime, str]:
    """The stretch of time that is meant, and what it is called."""
    now = context.now
    today = now.date()
    if day is not None:
        found = _day(context, day)
        since, until = _midnight(context, found), _midnight(context, found + timedelta(days=1))
        called = say_day(since, now)
        if day.part is not None:
            called = f"{called} {'at' if day.part.name == 'NIGHT' else 'in the'} {day.part.name.lower()}"
            since, until = (since + timedelta(hours=hour) for hour in _PARTS[day.part.name])
        return since, until, called
    monday = today - timedelta(days=today.weekday())
    first, days, called = {
        "week": (today, 7 - today.weekday(), "this week"),
        "next week": (monday + timedelta(days=7), 7, "next week"),
        "weekend": (max(today, monday + timedelta(days=5)), 0, "this weekend"),
        "month": (today, 31, "in the coming month"),
    }.get(span, (today, 1, "today"))
    last = monday + timedelta(days=7) if span == "weekend" else first + timedelta(days=days)
    since = now if first == today else _midnight(context, first)
    return since, _midnight(context, last), called


_PARTS = {"MORNING": (5, 12), "AFTERNOON": (12, 18), "EVENING": (17, 24), "NIGHT": (20, 28)}


def _day(context: Context, day: When) -> date:
    if not day.names_a_day:
        return _moment(context, day).date()
    try:
        noon = When(12, exact=True, days=day.days, weekday=day.weekday, date=day.date, every=day.every)
        start = datetime.combine(context.now.date(), time(), context.now.tzinfo)  # today counts until midnight
        return resolve(noon, start).date()
    except PastError as error:
        raise Problem(str(error)) from error


def _moment(context: Context, day: When) -> datetime:
    try:
        if day.hour is None and day.part is None:
            return datetime.combine(_day(context, day), time(), context.now.tzinfo)
        return resolve(day, context.now).replace(tzinfo=context.now.tzinfo)
    except PastError as error:
        raise Problem(str(error)) from error


def _midnight(context: Context, day: date) -> datetime:
    return datetime.combine(day, time(), context.now.tzinfo)


def _fits(said: str, title: str) -> bool:
    """Whether every word that was said is in the title, small words aside."""
    small = {"the", "my", "a", "an", "with", "at", "our", "appointment", "event", "meeting"}
    plain = title.lower().replace("'", "").split()
    wanted = [word for word in said.lower().replace("'", "").split() if word not in small] or said.lower().split()
    return all(any(word in one for one in plain) for word in wanted)


def _data(entry: Entry) -> dict[str, object]:
    return {
        "title": entry.title,
        "begins": entry.begins.isoformat(),
        "ends": entry.ends.isoformat(),
        "whole_day": entry.whole_day,
        "place": entry.place,
        "uid": entry.uid,
    }


_DAY = Argument("day", "when", "a day, or a day and a time: 'on Friday', 'tomorrow at nine'")
_ABOUT = Argument("about", "text", "words of its title", needed=False)

plugin = Plugin(
    name="calendar",
    about="calendars on a CalDAV server or in .ics files: what is on, when one is free; adds and removes events",
    version="1",
    settings=(
        Setting("url", "address of the CalDAV server, of a person's calendars or of one calendar", "url"),
        Setting("user", "user on that server"),
        Setting("password", "the password; an app password where the server has such", "secret"),
        Setting("calendar", "name of the calendar that new events go into; none: the first one"),
        Setting("only", "names of the calendars that are read; none: all", "list", ()),
        Setting("ics", "addresses of .ics files that are read as well", "urls", ()),
        Setting("files", ".ics files of this machine that are read as well", "files", ()),
        Setting("minutes", "how long a new event is where nobody says it", "whole", 60),
        Setting("remind_minutes", "minutes before an event that it is told; 0: never", "whole", 10),
    ),
    tools=(
        Tool(
            "events",
            "what is in the calendar on a day, or in a stretch of time",
            events,
            (
                Argument("day", "when", "a day", needed=False),
                Argument(
                    "span",
                    "choice",
                    "a stretch of time",
                    False,
                    ("today", "week", "next week", "weekend", "month"),
                ),
                _ABOUT,
            ),
            reads=("calendar",),
            sends=False,
            sentences=EVENTS,
        ),
        Tool("free", "whether somebody is free", free, (_DAY,), ("calendar",), sends=False, sentences=FREE),
        Tool(
            "next",
            "the next event, or when something is",
            next_event,
            (_ABOUT,),
            ("calendar",),
            sends=False,
            sentences=(*NEXT, *WHEN_IS),
        ),
        Tool(
            "add",
            "add an event to the calendar",
            add,
            (
                Argument("title", "text", "what it is"),
                _DAY,
                Argument("lasts", "duration", "how long it lasts", needed=False),
                Argument("anyway", "switch", "although something is in the way", needed=False),
            ),
            ("calendar",),
            ("calendar",),
            "add {title} to the calendar, {day}",
            sends=False,
            sentences=ADD,
        ),
        Tool(
            "remove",
            "remove an event from the calendar, after a yes",
            remove,
            (Argument("title", "text", "words of its title"), Argument("day", "when", "its day", needed=False)),
            ("calendar",),
            sends=False,
            sentences=REMOVE,
        ),
        Tool(
            "remove_found",
            "remove exactly one event",
            remove_found,
            (Argument("uid"), Argument("begins"), Argument("title")),
            ("calendar",),
            ("calendar",),
            "remove {title} from the calendar",
            sends=False,
            offered=False,
        ),
    ),
    watch=watch,
    watch_s=300,
)
