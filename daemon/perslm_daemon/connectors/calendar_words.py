"""What is said of a calendar: entries in a sentence, what lies in the way, when something is. Pure, English."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from perslm_daemon.connectors.calendar_events import Entry
from perslm_runtime.time_words import say_clock, say_day

_MOST_SAID = 6


def listed(entries: Sequence[Entry], span: str, now: datetime, *, days: bool) -> str:
    """What there is in a stretch of time that is called `span` ("tomorrow"); with `days` each says its day."""
    if not entries:
        return f"You have nothing {span}."
    said = [one_said(entry, now, day=days) for entry in entries[:_MOST_SAID]]
    more = f", and {len(entries) - _MOST_SAID} more" if len(entries) > _MOST_SAID else ""
    count = "one thing" if len(entries) == 1 else f"{len(entries)} things"
    return f"{capital(span)} you have {count}: {joined(said) if not more else ', '.join(said) + more}."


def one_said(entry: Entry, now: datetime, *, day: bool, until: bool = False) -> str:
    """ "Dentist at 9 AM on Friday"."""
    when = say_day(entry.begins, now)
    if entry.whole_day:
        first = max(entry.begins, now.replace(hour=0, minute=0, second=0, microsecond=0))
        return f"{entry.title}, all day" + (f" {say_day(first, now)}" if day else "")
    clock = (
        f"from {say_clock(entry.begins)} to {say_clock(entry.ends)}" if until else f"at {say_clock(entry.begins)}"
    )
    return f"{entry.title} {clock}" + (f" {when}" if day else "")


def when_said(entry: Entry, now: datetime) -> str:
    """ "Dentist is tomorrow at 9 AM, in the Main Street 5"."""
    place = f", at {entry.place}" if entry.place else ""
    clock = ", all day" if entry.whole_day else f" at {say_clock(entry.begins)}"
    return f"{entry.title} is {say_day(entry.begins, now)}{clock}{place}."


def busy(entries: Sequence[Entry], now: datetime) -> str:
    """What one has in a time that was asked about."""
    return f"You have {joined([one_said(one, now, day=False, until=True) for one in entries[:_MOST_SAID]])}"


def soon(entry: Entry, now: datetime) -> str:
    """What is told of itself before something begins."""
    minutes = max(0, round((entry.begins - now) / timedelta(minutes=1)))
    left = "now" if minutes == 0 else f"in {minutes} minute{'' if minutes == 1 else 's'}"
    place = f", at {entry.place}" if entry.place else ""
    return f"{entry.title} begins {left}, at {say_clock(entry.begins)}{place}."


def joined(said: Sequence[str]) -> str:
    """ "a, b and c"."""
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def capital(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]
