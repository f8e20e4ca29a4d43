"""Which stretches of the past a question names: "last Tuesday", "two weeks ago", "on the third of May".

Pure: the present is handed in, in the person's own time zone. What lies ahead has its own reader (when.py); a day
that could be either is taken for the one that has been. Knows no memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from perslm_runtime.number_words import cardinal, ordinal
from perslm_runtime.time_words import words_of
from perslm_runtime.when import DAYS

_MONTHS = (
    "january february march april may june july august september october november december".split()  # noqa: SIM905 - a list of twelve is a line to read
)
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_UNIT_DAYS = {"day": 1, "week": 7, "fortnight": 14, "month": 30, "year": 365}
_PARTS = {"morning": (4, 12), "afternoon": (12, 18), "evening": (17, 24), "night": (18, 29)}
_FEW = {"a": 1, "an": 1, "couple": 2, "few": 3, "some": 3, "several": 4}
_FEASTS = {"christmas": ((12, 20), (12, 31)), "easter": ((3, 20), (4, 28)), "halloween": ((10, 30), (11, 1))}


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `since` to `until` (not included), and the words that named it."""

    since: datetime
    until: datetime
    words: tuple[str, ...]


_Found = tuple[datetime, datetime, int]  # since, until, place after the last word


def stretches(text: str, now: datetime) -> list[Stretch]:
    """Every stretch of the past that `text` names, in order; `now` is aware and local."""
    words = [word.lower() for word in words_of(text)]
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found, at = [], 0
    while at < len(words):
        one = next(_readings(words, at, today), None)
        if one is None:
            at += 1
            continue
        since, until, end = one
        if since <= now:
            found.append(Stretch(since, until, tuple(words[at:end])))
        at = end
    return found


def _readings(words: list[str], at: int, today: datetime) -> Iterator[_Found]:
    readers: tuple[Callable[[list[str], int, datetime], _Found | None], ...] = (
        _near_day,
        _ago,
        _weekday,
        _date,
        _month,
        _unit,
        _season,
        _year,
    )
    for read in readers:
        found = read(words, at, today)
        if found is not None:
            yield found


def _day(start: datetime, days: int = 1) -> tuple[datetime, datetime]:
    return start, start + timedelta(days=days)


def _part(words: list[str], end: int, since: datetime, until: datetime) -> _Found:
    """The part of the day, where one is named next."""
    start = end + 2 if words[end : end + 2] == ["in", "the"] else end
    part = _PARTS.get(words[start]) if start < len(words) else None
    if part is None:
        return since, until, end
    return since + timedelta(hours=part[0]), since + timedelta(hours=part[1]), start + 1


def _near_day(words: list[str], at: int, today: datetime) -> _Found | None:
    if words[at : at + 4] == ["the", "day", "before", "yesterday"]:
        return *_day(today - timedelta(days=2)), at + 4
    if words[at] == "yesterday":
        return _part(words, at + 1, *_day(today - timedelta(days=1)))
    if words[at : at + 2] == ["last", "night"]:
        return _part(words, at + 1, *_day(today - timedelta(days=1)))
    if words[at] == "today":
        return *_day(today), at + 1
    if words[at] == "this" and at + 1 < len(words) and words[at + 1] in _PARTS:
        return _part(words, at + 1, *_day(today))
    return None


def _ago(words: list[str], at: int, today: datetime) -> _Found | None:
    number, end = _count(words, at)
    unit = words[end].rstrip("s") if end < len(words) else ""
    if number is None or unit not in _UNIT_DAYS or words[end + 1 : end + 2] != ["ago"]:
        return None
    middle = today - timedelta(days=number * _UNIT_DAYS[unit])
    wide = _UNIT_DAYS[unit] // 2 + (number > 2 and unit == "day" and words[at] in _FEW)
    return middle - timedelta(days=wide), middle + timedelta(days=wide + 1), end + 2


def _count(words: list[str], at: int) -> tuple[int | None, int]:
    known = cardinal(words, at)
    if known is not None and known[0] <= 400:
        return known
    end, number = at, None
    while end < len(words) and (words[end] in _FEW or (number and words[end] == "of")):
        number = _FEW.get(words[end], number)
        end += 1
    return number, end


def _weekday(words: list[str], at: int, today: datetime) -> _Found | None:
    led = words[at] in {"last", "on", "this", "past"}
    start = at + led
    if words[start : start + 1] == ["last"]:
        start += 1
    name = words[start].title() if start < len(words) else ""
    if name not in DAYS:
        return None
    back = (today.weekday() - DAYS.index(name)) % 7 or 7
    end = start + 1
    if words[end : end + 2] == ["last", "week"]:
        back, end = today.weekday() + 7 - DAYS.index(name), end + 2
    return _part(words, end, *_day(today - timedelta(days=back)))


def _date(words: list[str], at: int, today: datetime) -> _Found | None:
    """ "on the third of May", "May 3", "3 May 2025"."""
    start = at + (words[at] == "on")
    start += words[start : start + 1] == ["the"]
    if start >= len(words):
        return None
    if words[start] in _MONTHS:
        month, after = words[start], start + 1 + (words[start + 1 : start + 2] == ["the"])
        day = ordinal(words, after) or cardinal(words, after)
        end = day[1] if day else after
    else:
        day = ordinal(words, start) or cardinal(words, start)
        after = day[1] + (words[day[1] : day[1] + 1] == ["of"]) if day else start
        month, end = words[after] if after < len(words) else "", after + 1
    if day is None or month not in _MONTHS or not 1 <= day[0] <= 31:
        return None
    year, end = _named_year(words, end)
    number = _MONTHS.index(month) + 1
    for one in (year,) if year else (today.year, today.year - 1, today.year - 2):
        try:
            begin = today.replace(year=one, month=number, day=day[0])
        except ValueError:  # the 29th of February
            continue
        if begin <= today:
            return _part(words, end, *_day(begin))
    return None


def _named_year(words: list[str], at: int) -> tuple[int | None, int]:
    year = words[at] if at < len(words) else ""
    return (int(year), at + 1) if re.fullmatch(r"(19|20)\d\d", year) else (None, at)


def _month(words: list[str], at: int, today: datetime) -> _Found | None:
    """ "in March", "last May", "in early June", "March 2025"; a bare "march" or "may" is a verb."""
    start = at + (words[at] in {"in", "last", "this", "during"})
    part = words[start] if words[start : start + 1] in (["early"], ["late"], ["mid"]) else ""
    start += bool(part)
    if start >= len(words) or words[start] not in _MONTHS or (start == at and words[start] in {"may", "march"}):
        return None
    month = _MONTHS.index(words[start]) + 1
    year, end = _named_year(words, start + 1)
    year = year or (today.year if month <= today.month else today.year - 1)
    since = today.replace(year=year, month=month, day=1)
    until = _first_of_next(since)
    ends = {"early": (0, 12), "mid": (9, 21), "late": (18, 31)}.get(part)
    if ends is not None:
        since, until = since + timedelta(days=ends[0]), min(until, since + timedelta(days=ends[1]))
    return since, until, end


def _first_of_next(day: datetime) -> datetime:
    return (day.replace(day=28) + timedelta(days=7)).replace(day=1)


def _unit(words: list[str], at: int, today: datetime) -> _Found | None:
    """ "last week", "this month", "the last three days", "over the weekend"."""
    start = at + (words[at] == "the")
    lead = words[start] if start < len(words) else ""
    if words[start : start + 2] in (["the", "weekend"], ["weekend"]) or lead == "weekend":
        return None if start == at else (*_weekend(today, 0), start + 1)
    if lead not in {"last", "this", "past", "previous"} or start + 1 >= len(words):
        return None
    number, end = _count(words, start + 1)
    unit = words[end].rstrip("s") if end < len(words) else ""
    if number is not None and unit in _UNIT_DAYS:
        return today - timedelta(days=number * _UNIT_DAYS[unit]), today + timedelta(days=1), end + 1
    now = lead == "this"
    if unit == "weekend":
        return *_weekend(today, 0 if lead != "previous" else 7), end + 1
    return None if unit not in {"week", "month", "year"} else (*_calendar(unit, today, now=now), end + 1)


def _calendar(unit: str, today: datetime, *, now: bool) -> tuple[datetime, datetime]:
    """This week, month or year, or the last one."""
    if unit == "week":
        monday = today - timedelta(days=today.weekday() + (0 if now else 7))
        return _day(monday, 7)
    if unit == "month":
        first = today.replace(day=1) if now else (today.replace(day=1) - timedelta(days=1)).replace(day=1)
        return first, _first_of_next(first)
    year = today.replace(year=today.year - (not now), month=1, day=1)
    return year, year.replace(year=year.year + 1)


def _weekend(today: datetime, before: int) -> tuple[datetime, datetime]:
    """The weekend that has been (or is)."""
    saturday = today - timedelta(days=(today.weekday() - 5) % 7 + before)
    return _day(saturday, 2)


def _season(words: list[str], at: int, today: datetime) -> _Found | None:
    start = at + (words[at] in {"in", "last", "this", "at", "over", "during"})
    start += words[start : start + 1] == ["the"]
    name = words[start] if start < len(words) else ""
    if start == at or name not in {**_SEASONS, **_FEASTS}:
        return None
    for year in (today.year, today.year - 1):
        if name in _SEASONS:
            since = today.replace(year=year, month=_SEASONS[name], day=1)
            until = since + timedelta(days=92)
        else:
            first, last = _FEASTS[name]
            since = today.replace(year=year, month=first[0], day=first[1])
            until = today.replace(year=year, month=last[0], day=last[1]) + timedelta(days=1)
        if since <= today:
            return since, until, start + 1
    return None


def _year(words: list[str], at: int, today: datetime) -> _Found | None:
    if words[at] != "in":
        return None
    year, end = _named_year(words, at + 1)
    if year is None:
        return None
    since = today.replace(year=year, month=1, day=1)
    return since, since.replace(year=year + 1), end
