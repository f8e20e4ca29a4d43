"""When something is to be: a day and a time as people say them, and the moment that is meant.

Pure arithmetic on local time; whoever asks brings now and the time zone. "Seven" is twelve hours wide: `resolve`
chooses as a listener would, and its caller says the choice aloud. Where clocks are put forward, a time that does
not exist is as much later as they jump; where they are put back, the first of the two is meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from enum import Enum

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EVERY_DAY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
WEEKEND = frozenset((5, 6))


class Part(Enum):
    """The part of a day that was named; its value is the hour that it alone stands for."""

    MORNING = 8
    AFTERNOON = 15
    EVENING = 19
    NIGHT = 22


@dataclass(frozen=True, slots=True)
class When:
    """What was said of a time. `hour` None: only a day. An hour from 1 to 12 is open without `exact` or `part`.

    `days` counts from today; `weekday` is 0 for Monday; `date` is (month, day); `every` holds weekdays.
    """

    hour: int | None = None
    minute: int = 0
    exact: bool = False
    part: Part | None = None
    days: int | None = None
    weekday: int | None = None
    date: tuple[int, int] | None = None
    every: frozenset[int] = frozenset()

    @property
    def names_a_day(self) -> bool:
        """Whether a day was said."""
        return self.days is not None or self.weekday is not None or self.date is not None or bool(self.every)

    def with_day_of(self, other: When) -> When:
        """Both together, where one tells the time of day and the other the day."""
        clock, day = (self, other) if other.hour is None else (other, self)
        return replace(day, hour=clock.hour, minute=clock.minute, exact=clock.exact, part=day.part or clock.part)


class PastError(ValueError):
    """What was asked for lies in the past, or on no day at all."""


def resolve(when: When, now: datetime, *, waking: bool = False) -> datetime:
    """The next moment that `when` means, as local time without a zone; `now` has its zone.

    `waking` prefers the morning: an alarm for seven that is set at noon is for tomorrow. Raises `PastError`.
    """
    here = now.replace(tzinfo=None)
    if when.hour is None and when.part is None and not when.names_a_day:
        raise PastError("no time was said")
    found = [
        datetime.combine(day, time(hour, when.minute)) + timedelta(days=late)
        for day in _days(when, here.date())
        for hour, late in _hours(when, waking=waking)
    ]
    later = sorted(moment for moment in found if moment > here)
    if not later:
        raise PastError("that time has passed")
    return later[0]


def _days(when: When, today: date) -> list[date]:
    """The days it may be, soonest first."""
    if when.every:
        week = [today + timedelta(days=n) for n in range(8)]
        return [day for day in week if day.weekday() in when.every]
    if when.date is not None:
        return [day for year in range(today.year, today.year + 9) if (day := _date(year, *when.date)) is not None]
    if when.days is not None:
        return [today + timedelta(days=when.days)]
    if when.weekday is not None:
        ahead = (when.weekday - today.weekday()) % 7
        return [today + timedelta(days=ahead), today + timedelta(days=ahead + 7)]
    return [today, today + timedelta(days=1)]


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _hours(when: When, *, waking: bool) -> list[tuple[int, int]]:
    """The hours it may be, with the days that each is later than the day named."""
    if when.hour is None:
        return [(when.part.value if when.part else 9, 0)]
    hour = when.hour % 24
    if when.exact or not 1 <= hour <= 12:
        return [(hour, 1 if when.hour == 24 else 0)]
    early, late = hour % 12, hour % 12 + 12
    if when.part is not None:
        return _hours_of(when.part, early, named=when.names_a_day)
    if waking:
        return [(early or 12, 0)]
    if when.names_a_day:  # nobody means three in the night when they say "tomorrow at three"
        return [(late if early < 7 else early, 0)]
    return [(early, 0), (late, 0)]


def _hours_of(part: Part, early: int, *, named: bool) -> list[tuple[int, int]]:
    """As `_hours`, for an hour of the twelve in a part of the day; `named`: of a day that was named."""
    late = early + 12
    if part is Part.MORNING:
        return [(early, 0)]
    if early == 0:  # twelve in the evening is the end of the day
        return [(late, 0)] if part is Part.AFTERNOON else [(0, 1)]
    if part is Part.NIGHT and early < 6:  # "at two at night" belongs to the night that follows the day
        return [(early, 1)] if named else [(early, 0), (early, 1)]
    return [(late, 0)]


def next_of(every: frozenset[int], at: time, after: datetime) -> datetime:
    """The first moment later than `after` (local, without a zone) that falls on one of the weekdays."""
    for n in range(8):
        moment = datetime.combine(after.date() + timedelta(days=n), at)
        if moment > after and moment.weekday() in every:
            return moment
    raise PastError("no weekday was said")


def unix_time(local: datetime, zone: tzinfo) -> float:
    """Unix time of a local time without a zone: the first of two, or as much later as the clocks jump."""
    return local.replace(tzinfo=zone, fold=0).timestamp()


def local_time(unix_s: float, zone: tzinfo) -> datetime:
    """Local time, with its zone, at a Unix time."""
    return datetime.fromtimestamp(unix_s, zone)
