"""Stretches of past time as people name them: "the last hour", "2d", "yesterday", "last week", a day or a moment.

Pure: the present is handed in, in the person's own time zone. Knows no memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from perslm_runtime.errors import InputError
from perslm_runtime.time_words import find, words_of

_SHORT = re.compile(r"(\d{1,6})\s*([smhdw])")
_SHORT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LAST = re.compile(r"(?:in |within |during |for )?(?:the )?(?:last|past|previous) (?P<long>.+)")
_LONG_S = {"day": 86_400, "week": 604_800, "month": 30 * 86_400, "year": 365 * 86_400}
_DAYS = re.compile(
    r"(?:(?P<count>\d+|a|an|one|two|three|four|five|six|seven|ten) )?(?P<unit>day|week|month|year)s?"
)
_COUNT = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "ten": 10}
_PARTS = {"morning": (5, 12), "afternoon": (12, 18), "evening": (17, 24), "night": (0, 24)}


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` (included) to `until` (not included); None is the present."""

    since: datetime
    until: datetime | None = None


def span_of(text: str, now: datetime) -> Span:
    """The stretch that `text` names, before the aware `now`. Raises `InputError` where it names none."""
    words = " ".join(text.lower().replace(",", " ").split()).rstrip(".!?")
    found = _short(words, now) or _calendar(words, now) or _last(words, now) or _moment(text.strip(), now)
    if found is None:
        raise InputError(
            f"{text[:40]!r} is no time that is known: say 1h, 2d, the last hour, today, yesterday, last week, "
            "2026-01-31 or 2026-01-31T18:00"
        )
    return found


def _short(words: str, now: datetime) -> Span | None:
    short = _SHORT.fullmatch(words)
    return None if short is None else Span(now - timedelta(seconds=int(short[1]) * _SHORT_S[short[2]]))


def _last(words: str, now: datetime) -> Span | None:
    """ "the last two hours": that long back from now."""
    last = _LAST.fullmatch(words)
    if last is None:
        return None
    days = _DAYS.fullmatch(last["long"])
    if days is not None and (days["count"] is not None or days["unit"] in ("day", "year")):
        count = days["count"] or "one"
        number = _COUNT.get(count) or int(count)
        return Span(now - timedelta(seconds=min(number, 10_000) * _LONG_S[days["unit"]]))
    for long in (last["long"], f"one {last['long']}"):
        said = words_of(long)
        for one in find(said):
            if (one.start, one.end) == (0, len(said)) and isinstance(one.value, int):
                return Span(now - timedelta(seconds=one.value))
    return None


def _calendar(words: str, now: datetime) -> Span | None:
    """Days, weeks, months and parts of days by the calendar; a week begins on Monday."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    monday, first = today - timedelta(days=today.weekday()), today.replace(day=1)
    named = {
        "today": Span(today),
        "yesterday": Span(today - timedelta(days=1), today),
        "the day before yesterday": Span(today - timedelta(days=2), today - timedelta(days=1)),
        "this week": Span(monday),
        "last week": Span(monday - timedelta(days=7), monday),
        "this month": Span(first),
        "last month": Span((first - timedelta(days=1)).replace(day=1), first),
    }
    if words in named:
        return named[words]
    day, _, part = words.rpartition(" ")
    if part not in _PARTS or day not in ("this", "yesterday"):
        return None
    start = today if day == "this" else today - timedelta(days=1)
    begin, end = _PARTS[part]
    return Span(start + timedelta(hours=begin), min(now, start + timedelta(hours=end)))


def _moment(text: str, now: datetime) -> Span | None:
    """A day or a moment to the present; without a time zone it is that of `now`."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return Span(when if when.tzinfo is not None else when.replace(tzinfo=now.tzinfo))
