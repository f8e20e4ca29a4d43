"""The verb `timer`: what may be asked of the schedule over MQTT and the control socket, and how it answers.

A few lines over the schedule; times may be given as ISO 8601 or as people say them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from perslm_daemon.schedule import Schedule
from perslm_daemon.schedule_file import Item, Kind, State
from perslm_daemon.schedule_words import View
from perslm_daemon.verbs import Args
from perslm_runtime.errors import InputError
from perslm_runtime.time_words import when_of
from perslm_runtime.when import PastError, resolve


class TimerArgs(Args, frozen=True, forbid_unknown_fields=True):
    """`seconds` sets a timer, `at` an alarm, with `text` a reminder; `id` or `name` say which one is meant."""

    action: Literal["set", "list", "pause", "resume", "cancel", "snooze"] = "list"
    seconds: float | None = None
    at: str | None = None
    name: str = ""
    id: str = ""
    text: str = ""


async def timer(schedule: Schedule, args: TimerArgs) -> Mapping[str, Any]:
    """Do it; `timers` are all there are for `list`, else those that were set or changed, as they are now."""
    match args.action:
        case "list":
            return {"timers": [timer_data(view) for view in schedule.views()]}
        case "set":
            items: Sequence[Item] = [await _set(schedule, args)]
        case "snooze":
            items = await schedule.snooze(args.seconds)
            if not items:
                raise InputError("nothing is ringing: there is nothing to snooze")
        case "cancel":
            items = [_which(schedule, args, tuple(State))]
            await schedule.cancel(items)
        case "pause":
            items = [_which(schedule, args, (State.RUNNING, State.SNOOZED))]
            await schedule.pause(items[0])
        case "resume":
            items = [_which(schedule, args, (State.PAUSED,))]
            await schedule.resume(items[0])
    ids = {item.id for item in items}
    now = [timer_data(view) for view in schedule.views() if view.item.id in ids]
    return {"timers": now or [{**timer_data(View(item, 0.0, None)), "state": "cancelled"} for item in items]}


async def _set(schedule: Schedule, args: TimerArgs) -> Item:
    if (args.seconds is None) == (args.at is None):
        raise InputError("say either seconds or at: a timer counts down, an alarm waits for a time")
    if args.at is None:
        kind = Kind.REMINDER if args.text else Kind.TIMER
        return await schedule.add(kind, seconds=args.seconds, name=args.name, text=args.text)
    now = schedule.now()
    if now is None:
        raise InputError("the clock has not been set, so no time of day can be waited for: send seconds")
    local, every = _moment(args.at, now)
    kind = Kind.REMINDER if args.text else Kind.ALARM
    return await schedule.add(kind, local=local, every=every, name=args.name, text=args.text)


def _moment(text: str, now: datetime) -> tuple[datetime, frozenset[int]]:
    """A local time, and the weekdays it recurs on, out of ISO 8601 or words. Raises `InputError`."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        when = when_of(text)
        if when is None:
            raise InputError(
                f"{text[:40]!r} is no time: send ISO 8601 (2026-01-31T07:00) or words (tomorrow at seven)"
            ) from None
        try:
            return resolve(when, now, waking=True), when.every
        except PastError as error:
            raise InputError(f"{text[:40]!r}: {error}") from error
    if moment.tzinfo is not None:
        moment = moment.astimezone(now.tzinfo).replace(tzinfo=None)
    return moment, frozenset()


def _which(schedule: Schedule, args: TimerArgs, states: Sequence[State]) -> Item:
    """The one that is meant. Raises `InputError` where there is none, or more than one."""
    items = [view.item for view in schedule.views() if view.item.state in states]
    if args.id:
        items = [item for item in items if item.id == args.id]
    elif args.name:
        items = [item for item in items if item.name.lower() == args.name.strip().lower()]
    if not items:
        which = f" of the id {args.id!r}" if args.id else f" called {args.name!r}" if args.name else ""
        raise InputError(f"there is no timer, alarm, reminder or plan{which} to {args.action}")
    if len(items) > 1:
        raise InputError(f"{len(items)} fit: send the id of one ({', '.join(item.id for item in items)})")
    return items[0]


def timer_data(view: View) -> dict[str, Any]:
    """One item as the verb answers it; `seconds_left` is None where nobody knows."""
    item = view.item
    return {
        "id": item.id,
        "kind": item.kind.value,
        "name": item.name,
        "text": item.text,
        "seconds_left": None if view.seconds_left is None else round(view.seconds_left, 1),
        "state": item.state.value,
        "at": view.at.isoformat(timespec="seconds") if view.at else None,
        "every": list(item.every),
        **({"why": item.why} if item.why else {}),
    }
