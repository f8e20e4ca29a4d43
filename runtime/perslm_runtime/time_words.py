"""English words for durations, times of day and days: found in a sentence, and said in an answer.

Pure. Reads what a recognizer writes: no punctuation, numbers spelled out or in digits ("twenty five minutes", "an
hour and a half", "half past seven", "7:30 pm"), and homophones where only a number fits ("for minutes"). Knows no
intents; `when.py` knows which moment is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from perslm_runtime.number_words import HOMOPHONES, Words, cardinal, fraction, ordinal, written_fraction
from perslm_runtime.when import DAYS, EVERY_DAY, WEEKDAYS, WEEKEND, Part, When

_MONTHS = re.findall(
    r"\w+", "january february march april may june july august september october november december"
)
_UNITS = {
    **dict.fromkeys(("second", "seconds", "sec", "secs"), 1),
    **dict.fromkeys(("minute", "minutes", "min", "mins"), 60),
    **dict.fromkeys(("hour", "hours", "hr", "hrs"), 3600),
    **dict.fromkeys(("day", "days"), 86_400),
    **dict.fromkeys(("week", "weeks"), 604_800),
}
_PARTS = {"morning": Part.MORNING, "afternoon": Part.AFTERNOON, "evening": Part.EVENING, "night": Part.NIGHT}
_LEADS = frozenset(("at", "for", "to", "until", "till", "by", "around", "about", "from"))
_APART = re.compile(r"(?<=\d)-?(?=[a-z])|(?<=[a-z])-(?=[a-z])", re.IGNORECASE)
_LONGEST_S = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase of time: words `start` to `end` (not included), and what it says: seconds, or a day and time."""

    start: int
    end: int
    value: int | When


def words_of(text: str) -> list[str]:
    """The words of a sentence, as written but without punctuation: "7 a.m." is "7", "am"."""
    text = text.replace("’", "'").replace("½", " 1/2")
    text = re.sub(r"\b([ap])\.?\s?m\b\.?", r"\1m", text, flags=re.IGNORECASE)
    text = re.sub(r"\bo['\s]?clock\b", "oclock", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<!\d)[.,:;/]|[.,:;/](?!\d)|[!?\"()…]|(?<!\w)'|'(?!\w)", " ", text)
    text = re.sub(r"\btomorrow's\b", "tomorrow", text, flags=re.IGNORECASE)
    return _APART.sub(" ", text).split()


def find(words: Words) -> list[Found]:
    """Every phrase of time in a sentence, in order; none overlap."""
    low = [word.lower() for word in words]
    found: list[Found] = []
    at = 0
    while at < len(low):
        one = _duration(low, at) or _when(low, at)
        if one is None:
            at += 1
            continue
        found.append(one)
        at = one.end
    return found


def duration_of(text: str) -> int | None:
    """The seconds that a text says, when it says nothing else."""
    words = words_of(text)
    found = _duration([word.lower() for word in words], 0)
    return found.value if found and found.end == len(words) and isinstance(found.value, int) else None


def when_of(text: str) -> When | None:
    """The day and time that a text says, when it says nothing else."""
    words = words_of(f"at {text}")
    low = [word.lower() for word in words]
    for start in (0, 1):
        found = _when(low, start)
        if found and found.end == len(words) and isinstance(found.value, When):
            return found.value
    return None


# Durations


def _duration(words: Words, at: int) -> Found | None:
    total, end, unit = 0.0, at, _LONGEST_S
    while (part := _measure(words, end if end == at else _after_and(words, end), unit)) is not None:
        seconds, end, unit = part
        total += seconds
    if end == at:
        return None
    if unit in {60, 3600} and (tail := cardinal(words, end)) and 10 <= tail[0] <= 59:
        after = words[tail[1]] if tail[1] < len(words) else ""  # "one hour thirty"
        if after not in {"am", "pm", "oclock", "past", "to", *_UNITS}:
            total, end = total + tail[0] * unit / 60, tail[1]
    if words[at : end + 1] == ["a", "second", "timer"]:
        return None  # which is another one
    seconds = round(total)
    return Found(at, end, seconds) if 0 < seconds <= _LONGEST_S else None


def _after_and(words: Words, at: int) -> int:
    return at + 1 if words[at : at + 1] == ["and"] else at


def _measure(words: Words, at: int, below: int) -> tuple[float, int, int] | None:
    """A number with its unit, smaller than the unit before: (seconds, place after it, unit's seconds)."""
    for number, end in _quantities(words, at):
        more = end + 1 if words[end : end + 1] in (["more"], ["additional"], ["extra"]) else end
        unit = _UNITS.get(words[more]) if more < len(words) else None
        if unit is None or unit >= below:
            continue
        after = more + 1
        share = fraction(words, after + 1) if words[after : after + 1] == ["and"] else None
        if share is None or words[share[1] : share[1] + 1] == ["an"]:
            return number * unit, after, unit
        return (number + share[0]) * unit, share[1], unit
    return None


def _quantities(words: Words, at: int) -> Iterator[tuple[float, int]]:
    """What may be the number of a unit at a place: "ten", "one and a half", "half an", "a couple of"."""
    part = fraction(words, at)
    if part is not None:
        share, end = part
        end += words[end : end + 1] == ["of"]
        yield share, end + (words[end : end + 1] in (["a"], ["an"]))
    whole = cardinal(words, at)
    if whole is not None:
        number, end = whole
        if words[end : end + 1] == ["and"] and (more := fraction(words, end + 1)) is not None:
            yield number + more[0], more[1]
        if words[end : end + 1] == ["point"] and (digit := cardinal(words, end + 1)) and digit[0] < 10:
            yield number + digit[0] / 10, digit[1]
        if (written := written_fraction(words, end)) is not None:
            yield number + written, end + 1
        yield number, end
    if at < len(words):
        if re.fullmatch(r"\d{1,3}[.,]\d{1,2}", words[at]):
            yield float(words[at].replace(",", ".")), at + 1
        if (written := written_fraction(words, at)) is not None:
            end = at + 1 + (words[at + 1 : at + 2] == ["of"])
            yield written, end + (words[end : end + 1] in (["a"], ["an"]))
        if words[at] in {"a", "an"}:
            couple = words[at + 1 : at + 2] == ["couple"]
            end = at + 1 + couple + (couple and words[at + 2 : at + 3] == ["of"])
            yield (2 if couple else 1), end
        if words[at] in HOMOPHONES:
            yield HOMOPHONES[words[at]], at + 1


# Days and times of day


def _when(words: Words, at: int) -> Found | None:
    """The longest day and time that begins here; a bare hour needs a word before it or a day beside it."""
    led = at > 0 and words[at - 1] in _LEADS
    when, end, bare = When(), at, False
    while end < len(words):
        if when.hour is None:
            step = end + 1 if words[end] in {"at", "around", "by", "about"} else end
            if step > end and _duration(words, step) is not None:
                break  # "by an hour", "about ten minutes"
            clock = _clock(words, step, loose=step > end or (end == at and led))
            if clock is not None:
                when = replace(
                    when, hour=clock.hour, minute=clock.minute, exact=clock.exact, part=clock.part or when.part
                )
                end, bare = clock.end, clock.bare and step == end
                continue
        part = _part(words, end)
        if part is not None and when.part is None:
            when, end = replace(when, part=part[0], days=when.days if part[2] is None else part[2]), part[1]
            continue
        day = None if when.names_a_day else _day(words, end)
        if day is None:
            break
        when, end = when.with_day_of(day[0]), day[1]
    if end == at or (when.hour is None and not when.names_a_day) or when == When(days=0):
        return None  # "today" alone tells no time
    if bare and not led and not (when.names_a_day or when.part):
        return None
    return Found(at, end, when)


@dataclass(frozen=True, slots=True)
class _Clock:
    hour: int
    minute: int
    end: int
    exact: bool = False
    bare: bool = False
    part: Part | None = None


def _clock(words: Words, at: int, *, loose: bool) -> _Clock | None:
    if at >= len(words):
        return None
    if words[at] in {"noon", "midday"}:
        return _Clock(12, 0, at + 1, exact=True)
    if words[at] == "midnight":
        return _Clock(24, 0, at + 1, exact=True)
    told = _told_from_the_hour(words, at) or _told_by_hours(words, at, loose=loose)
    if told is None or not (0 <= told.hour <= 24 and 0 <= told.minute <= 59):
        return None
    half = words[told.end] if told.end < len(words) else ""
    if half in {"am", "pm"} and 1 <= told.hour <= 12:
        hour = told.hour % 12 + (12 if half == "pm" else 0)
        return _Clock(hour, told.minute, told.end + 1, exact=True)
    return told


def _told_from_the_hour(words: Words, at: int) -> _Clock | None:
    """ "half past seven", "quarter to nine", "ten past four", "twenty five minutes to six"."""
    start = at + 1 if words[at] == "a" else at
    if start < len(words) and words[start] in {"half", "quarter"}:
        minutes, end = {"half": 30, "quarter": 15}[words[start]], start + 1
    else:
        number = cardinal(words, at)
        if number is None or not 1 <= number[0] <= 29:
            return None
        minutes, end = number
        end += words[end : end + 1] in (["minutes"], ["minute"])
    word = words[end] if end < len(words) else ""
    hour = _hour(words, end + 1)
    if words[at] == "half" and (half_past := cardinal(words, end)) and 1 <= half_past[0] <= 12:
        counted = set(words[half_past[1] : half_past[1] + 1]) & _COUNTED  # "half four", but not "half ten percent"
        return None if counted else _Clock(half_past[0], 30, half_past[1], bare=True)
    if (
        hour is None
        or word not in {"past", "after", "to", "before", "till", "of"}
        or (word == "of" and minutes != 15)
    ):
        return None
    if word in {"past", "after"}:
        return _Clock(hour[0], minutes, hour[1])
    # a quarter to one is 12:45: the hour before, and before midnight the last of the day
    before = 12 if hour[0] == 1 else (hour[0] - 1) % 24
    return _Clock(before, 60 - minutes, hour[1], exact=not 1 <= before <= 12) if minutes != 30 else None


def _hour(words: Words, at: int) -> tuple[int, int] | None:
    if words[at : at + 1] in (["noon"], ["midday"]):
        return 12, at + 1
    if words[at : at + 1] == ["midnight"]:
        return 24, at + 1
    number = cardinal(words, at)
    return number if number and 0 <= number[0] <= 24 else None


def _told_by_hours(words: Words, at: int, *, loose: bool) -> _Clock | None:
    """ "7:30", "seven thirty", "seven oh five", "seven", "nineteen hundred", and after "at" also "for"."""
    written = re.fullmatch(r"(\d{1,2})[:.](\d\d)", words[at])
    if written is None and loose:
        written = re.fullmatch(r"(\d{1,2})(\d\d)", words[at])
    if written is not None:
        return _of_24(int(written[1]), int(written[2]), at + 1, bare="." in words[at])
    number = cardinal(words, at)
    if number is None and loose and words[at] in HOMOPHONES and words[at - 1 : at] == ["at"]:
        number = HOMOPHONES[words[at]], at + 1
    if number is None:
        return None
    hour, end = number
    word = words[end] if end < len(words) else ""
    if word == "hundred" or (hour >= 100 and hour % 100 == 0 and words[end - 1] == "hundred"):
        end += word == "hundred"
        return _Clock(hour // 100 or hour, 0, end + (words[end : end + 1] == ["hours"]), exact=True)
    if word == "oclock":
        return _of_24(hour, 0, end + 1)
    zero = word in {"oh", "o"}
    minute = cardinal(words, end + zero)
    fits = minute is not None and (1 <= minute[0] <= 9 if zero else 10 <= minute[0] <= 59)
    if minute is not None and fits and not set(words[minute[1] : minute[1] + 1]) & _COUNTED:
        return _of_24(hour, minute[0], minute[1], bare=not zero)
    return None if word in _COUNTED else _of_24(hour, 0, end, bare=True)


def _of_24(hour: int, minute: int, end: int, *, bare: bool = False) -> _Clock:
    return _Clock(hour, minute, end, exact=not 1 <= hour <= 12, bare=bare)


_COUNTED = frozenset((*_UNITS, "percent", "%", "people", "times", "degrees"))


def _part(words: Words, at: int) -> tuple[Part, int, int | None] | None:
    """ "in the morning", "at night", "tonight", "this evening": (part, place after it, days from today)."""
    three = tuple(words[at : at + 3])
    if three[:2] == ("in", "the") and len(three) == 3 and three[2] in _PARTS:
        return _PARTS[three[2]], at + 3, None
    if three[:2] == ("at", "night"):
        return Part.NIGHT, at + 2, None
    if three[:1] == ("tonight",):
        return Part.NIGHT, at + 1, 0
    if three[:1] == ("this",) and len(three) > 1 and three[1] in _PARTS:
        return _PARTS[three[1]], at + 2, 0
    return None


def _day(words: Words, at: int) -> tuple[When, int] | None:
    """A day, with the part of it where one is named: "tomorrow morning", "on Monday", "every weekday"."""
    found = _days_from_today(words, at) or _every(words, at) or _weekday(words, at) or _date(words, at)
    if found is None:
        return None
    when, end = found
    if when.part is None and end < len(words) and words[end] in _PARTS:
        return replace(when, part=_PARTS[words[end]]), end + 1
    return when, end


def _days_from_today(words: Words, at: int) -> tuple[When, int] | None:
    for said, days in (("the day after tomorrow", 2), ("day after tomorrow", 2), ("tomorrow", 1), ("today", 0)):
        length = len(said.split())
        if list(words[at : at + length]) == said.split():
            return When(days=days), at + length
    return None


def _weekday(words: Words, at: int) -> tuple[When, int] | None:
    start = at + 1 if words[at] in {"on", "this", "next"} else at
    name = words[start] if start < len(words) else ""
    if name.endswith("s") and name[:-1].title() in DAYS and words[at] == "on":
        return When(every=frozenset((DAYS.index(name[:-1].title()),))), start + 1
    if name in {"weekdays", "weekends"}:
        return When(every=WEEKDAYS if name == "weekdays" else WEEKEND), start + 1
    return (When(weekday=DAYS.index(name.title())), start + 1) if name.title() in DAYS else None


def _every(words: Words, at: int) -> tuple[When, int] | None:
    if words[at] == "daily":
        return When(every=EVERY_DAY), at + 1
    start = at + 1 if words[at] == "on" else at
    if words[start : start + 1] not in (["every"], ["each"]):
        return None
    name = words[start + 1] if start + 1 < len(words) else ""
    kinds = {"day": EVERY_DAY, "weekday": WEEKDAYS, "weekend": WEEKEND, "workday": WEEKDAYS}
    if name in kinds:
        return When(every=kinds[name]), start + 2
    if name in _PARTS:
        return When(every=EVERY_DAY, part=_PARTS[name]), start + 2
    days, end = set(), start + 1
    while end < len(words):
        step = end + 1 if words[end] == "and" else end
        if step >= len(words) or words[step].title() not in DAYS:
            break
        days.add(DAYS.index(words[step].title()))
        end = step + 1
    return (When(every=frozenset(days)), end) if days else None


def _date(words: Words, at: int) -> tuple[When, int] | None:
    """ "on the third of december", "december third", "december 3"."""
    start = at + 1 if words[at] == "on" else at
    start += words[start : start + 1] == ["the"]
    if start < len(words) and words[start] in _MONTHS:
        after = start + 1 + (words[start + 1 : start + 2] == ["the"])
        day = ordinal(words, after) or (cardinal(words, after) if words[at] == "on" else None)
        month = words[start]
    else:
        day = ordinal(words, start)
        after = day[1] + (words[day[1] : day[1] + 1] == ["of"]) if day else start
        if day is None or after >= len(words) or words[after] not in _MONTHS:
            return None
        month, day = words[after], (day[0], after + 1)
    if day is None or not 1 <= day[0] <= 31:
        return None
    return When(date=(_MONTHS.index(month) + 1, day[0])), day[1]


# Saying


def say_duration(seconds: float) -> str:
    """Seconds in words: "1 hour and 30 minutes". The two largest units that matter, rounded to the smaller."""
    left = max(0, round(seconds))
    for unit, below in ((86_400, 3600), (3600, 60), (60, 1)):
        if left >= unit:
            left = round(left / below) * below
            break
    parts = []
    for name, size in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " and ".join(parts[:2]) if parts else "0 seconds"


def say_clock(moment: datetime) -> str:
    """A time of day: "7:05 AM", "noon", "midnight"."""
    if (moment.hour, moment.minute) in {(0, 0), (12, 0)}:
        return "noon" if moment.hour else "midnight"
    half = "AM" if moment.hour < 12 else "PM"
    return f"{moment.hour % 12 or 12}:{moment.minute:02} {half}"


def say_day(moment: datetime, now: datetime) -> str:
    """The day as seen from now: "today", "tomorrow", "on Friday", "on Friday, December 4"."""
    days = (moment.date() - now.date()).days
    if days in {0, 1}:
        return ("today", "tomorrow")[days]
    name = f"on {DAYS[moment.weekday()]}"
    return name if 0 < days < 7 else f"{name}, {_MONTHS[moment.month - 1].title()} {moment.day}"


def say_every(every: frozenset[int]) -> str:
    """Weekdays: "every day", "every weekday", "every Monday and Friday"."""
    named = {EVERY_DAY: "day", WEEKDAYS: "weekday", WEEKEND: "Saturday and Sunday"}
    return "every " + (named.get(every) or " and ".join(DAYS[day] for day in sorted(every)))
