"""Events out of calendar files and into them: recurring ones with exceptions, time zones, whole days.

The door to icalendar and recurring-ical-events. Knows no server and no sentence.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import recurring_ical_events
from icalendar import Calendar, Event

from perslm_runtime.plugin import Problem

_WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_MOST_TITLE = 120
_LOCALTIME = Path("/etc/localtime")


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it happens, in local time. `ends` is not part of it; of a whole day both are midnights.

    `uid` is that of its series, `href` and `etag` where it lies on a server ("" elsewhere).
    """

    title: str
    begins: datetime
    ends: datetime
    whole_day: bool
    place: str = ""
    uid: str = ""
    href: str = ""
    etag: str = ""
    repeats: bool = False
    blocks: bool = True
    """Whether one is busy meanwhile."""


def entries_of(
    text: str, since: datetime, until: datetime, zone: tzinfo, *, href: str = "", etag: str = ""
) -> list[Entry]:
    """What happens from `since` to `until`, the earliest first. Raises `Problem` for what is no calendar."""
    try:
        calendar = Calendar.from_ical(text)
        found = recurring_ical_events.of(calendar, skip_bad_series=True).between(since, until)
        series = _series(calendar)
        made = [_entry(event, zone, href, etag, series) for event in found if not _cancelled(event)]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Problem("a calendar cannot be read: it is no iCalendar file") from error
    within = [
        one for one in made if one.begins < until and max(one.ends, one.begins + timedelta(seconds=1)) > since
    ]
    return sorted(within, key=lambda one: (one.begins, one.title))


def _cancelled(event: Event) -> bool:
    return str(event.get("STATUS", "")).upper() == "CANCELLED"


def _series(calendar: Calendar) -> frozenset[str]:
    """The uids of what happens more than once."""
    again = [
        one for one in calendar.walk("VEVENT") if any(one.get(name) is not None for name in ("RRULE", "RDATE"))
    ]
    return frozenset(str(one.get("UID", "")) for one in again)


def _entry(event: Event, zone: tzinfo, href: str, etag: str, series: frozenset[str]) -> Entry:
    start = event["DTSTART"].dt
    whole = not isinstance(start, datetime)
    begins = _local(start, zone)
    ends = _local(event.end, zone) if event.get("DTEND") or event.get("DURATION") else begins
    if whole and ends <= begins:
        ends = begins + timedelta(days=1)
    repeats = str(event.get("UID", "")) in series
    blocks = str(event.get("TRANSP", "OPAQUE")).upper() != "TRANSPARENT" and not whole
    title = _one_line(event.get("SUMMARY", "")) or "something without a name"
    place = _one_line(event.get("LOCATION", ""))
    return Entry(title, begins, ends, whole, place, str(event.get("UID", "")), href, etag, repeats, blocks)


def _one_line(value: object) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in str(value)).split())[:_MOST_TITLE]


def _local(moment: date | datetime, zone: tzinfo) -> datetime:
    """As local time; a moment without a zone is local wherever one is."""
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time(), zone)
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)


def made(title: str, begins: datetime, lasts: timedelta | None, every: Iterable[int] = ()) -> tuple[str, str]:
    """A new event as (its uid, the file's text). Without `lasts` it is the whole day; `every` repeats it weekly.

    Times are written in UTC, those that repeat in local time with their zone, where it has a name.
    """
    uid = str(uuid.uuid4())
    event = Event()
    event.add("UID", uid)
    event.add("DTSTAMP", datetime.now().astimezone())
    event.add("SUMMARY", title)
    days = sorted(every)
    if lasts is None:
        event.add("DTSTART", begins.date())
        event.add("DTEND", begins.date() + timedelta(days=1))
    else:
        start = _with_named_zone(begins) if days else begins.astimezone(UTC)
        event.add("DTSTART", start)
        event.add("DTEND", start + lasts)
    if days:
        event.add("RRULE", {"FREQ": ["WEEKLY"], "BYDAY": [_WEEKDAYS[day] for day in days]})
    calendar = Calendar()
    calendar.add("PRODID", "-//PersLM//calendar//EN")
    calendar.add("VERSION", "2.0")
    calendar.add_component(event)
    if days and lasts is not None:
        calendar.add_missing_timezones()
    return uid, calendar.to_ical().decode()


def _with_named_zone(moment: datetime) -> datetime:
    """The moment in a zone that others know by name; where it has none, without a zone: local anywhere."""
    names = [str(moment.tzinfo), *(_LOCALTIME.resolve().as_posix().partition("/zoneinfo/")[2:])]
    for name in names:
        try:
            return moment.replace(tzinfo=ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    return moment.replace(tzinfo=None)


def without(text: str, entry: Entry) -> str | None:
    """The file without that one occurrence; None where nothing of it is left. Raises `Problem`."""
    if not entry.repeats:
        return None
    calendar = Calendar.from_ical(text)
    series = next((one for one in calendar.walk("VEVENT") if one.get("RECURRENCE-ID") is None), None)
    if series is None:
        raise Problem("that series cannot be changed from here")
    start = series["DTSTART"].dt
    gone: date | datetime = entry.begins.date()
    if isinstance(start, datetime):
        gone = entry.begins.replace(tzinfo=None) if start.tzinfo is None else entry.begins.astimezone(start.tzinfo)
    series.add("EXDATE", gone)
    changed = [one for one in calendar.subcomponents if not _is_of(one, entry)]
    calendar.subcomponents[:] = changed
    return str(calendar.to_ical().decode())


def _is_of(component: object, entry: Entry) -> bool:
    """Whether a component is the exception that stands for that occurrence."""
    if not isinstance(component, Event) or component.get("RECURRENCE-ID") is None:
        return False
    zone = entry.begins.tzinfo
    return zone is not None and _local(component["DTSTART"].dt, zone) == entry.begins
