"""What is said of timers, alarms, reminders and commands: when they ring, are set, asked about. Pure, English."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from perslm_daemon.schedule_file import Item, Kind, State
from perslm_runtime.time_words import say_clock, say_day, say_duration, say_every


@dataclass(frozen=True, slots=True)
class View:
    """An item as it is now: seconds left and the local time it is due at; None where nobody knows."""

    item: Item
    seconds_left: float | None
    at: datetime | None


def rung(item: Item, due: datetime | None) -> str:
    """What is said while it rings; how late it is where it is late, and why."""
    late = f"{say_duration(item.late_s)} ago" if item.late_s else ""
    off = " while I was off" if item.off else ""
    if item.off and not late:
        return f"The {item.called} may have run out while I was off. I do not know for how long that was."
    match item.kind:
        case Kind.REMINDER:
            what = item.text or item.name or "you asked me to remind you"
            return f"A reminder that was due {late}{off}: {what}." if late else f"Reminder: {what}."
        case Kind.ALARM:
            clock = say_clock(due) if due else "now"
            if late:
                return f"The {item.called} for {clock} was due {late}{off}."
            return f"It is {clock}." + (f" This is the {item.called}." if item.name else "")
        case Kind.TIMER:
            return f"The {item.called} ran out {late}{off}." if late else f"The {item.called} is done."
        case Kind.COMMAND:
            return ""  # it is done and does not ring


def set_to(view: View, now: datetime | None) -> str:
    """What is said when it was set: what, and the time as it was understood."""
    item = view.item
    if item.local and view.at is not None and now is not None:
        day = say_every(frozenset(item.every)) if item.every else say_day(view.at, now)
        when = f"at {say_clock(view.at)} {day}"
    else:
        when = f"in {say_duration(item.total_s)}"
    match item.kind:
        case Kind.TIMER:
            return f"{capital(f'{item.name} timer'.strip())} set for {say_duration(item.total_s)}."
        case Kind.ALARM:
            return f"{capital(item.called)} set for {when.removeprefix('at ')}."
        case Kind.REMINDER:
            return f"I will remind you {when}" + (f": {item.text}." if item.text else ".")
        case Kind.COMMAND:
            return f"I will {item.name or item.text} {_due(view, now)}."


_SOON_S = 90.0  # what is due within that is told by its seconds


def _due(view: View, now: datetime | None) -> str:
    """When a command is due, as in "at 9:40 PM", "at 7:00 AM tomorrow", "in 30 seconds"."""
    item = view.item
    left = view.seconds_left or 0
    soon = not item.local and item.state is not State.MISSED and left < _SOON_S
    if view.at is None or now is None or soon:
        return f"in {say_duration(left)}"
    return at_time(view.at, now, frozenset(item.every))


def at_time(at: datetime, now: datetime, every: frozenset[int] = frozenset()) -> str:
    """A moment as it is said back: "at 9:40 PM" of today, "at midnight" of the next, else with its day."""
    day = say_every(every) if every else say_day(at, now)
    near = not every and timedelta() < at.replace(tzinfo=None) - now.replace(tzinfo=None) < timedelta(days=1)
    plain = day == "today" or (near and (at.hour, at.minute) == (0, 0))
    return f"at {say_clock(at)}" + ("" if plain else f" {day}")


def _command(view: View, now: datetime | None) -> str:
    item = view.item
    does = item.name or item.text
    why = f": {item.why}" if item.why else ""
    due = f" {_due(view, now)}" if view.at is not None else ""
    match item.state:
        case State.MISSED:
            return f"I did not {does}{due}{why}."
        case State.UNKNOWN:
            return f"I was off and my clock is not set: I do not know when I am to {does}."
        case State.PAUSED:
            return f"The {item.called} is paused with {say_duration(view.seconds_left or 0)} left."
        case State.DOING:
            return f"I am about to {does}."
    return f"I will {does} {_due(view, now)}."


def told(views: Sequence[View], now: datetime | None, none: str) -> str:
    """What is said when somebody asks what there is; `none` where there is nothing."""
    if not views:
        return none
    return " ".join(_one(view, now) for view in views)


def _one(view: View, now: datetime | None) -> str:
    item = view.item
    if item.kind is Kind.COMMAND:
        return _command(view, now)
    what = f": {item.text}" if item.text else ""
    left = "" if view.seconds_left is None else say_duration(view.seconds_left)
    said = {
        State.RINGING: f"The {item.called} is ringing{what}.",
        State.UNKNOWN: f"I was off and my clock is not set: I do not know how much is left on the {item.called}.",
        State.PAUSED: f"The {item.called} is paused with {left} left.",
        State.SNOOZED: f"The {item.called} rings again in {left}.",
    }.get(item.state)
    if said is not None:
        return said
    if view.at is not None and now is not None and (item.local or item.state is State.MISSED):
        when = say_every(frozenset(item.every)) if item.every else say_day(view.at, now)
        clock = f"{say_clock(view.at)} {when}"
        missed = item.state is State.MISSED
        return (
            f"You missed the {item.called} at {clock}{what}."
            if missed
            else f"The {item.called} is set for {clock}{what}."
        )
    return (
        f"You missed the {item.called}{what}."
        if item.state is State.MISSED
        else f"The {item.called} has {left} left{what}."
    )


def names(items: Sequence[Item], last: str = "and") -> str:
    """Items in a row: "the pasta timer and the alarm"."""
    called = [
        f"the {item.called}{f' ({item.text})' if item.text and item.kind is not Kind.COMMAND else ''}"
        for item in items
    ]
    return f" {last} ".join([", ".join(called[:-1]), called[-1]] if len(called) > 1 else called)


def capital(text: str) -> str:
    """A sentence with its first letter as one begins."""
    return text[:1].upper() + text[1:]


__all__ = ["View", "capital", "names", "rung", "say_clock", "set_to", "told"]
