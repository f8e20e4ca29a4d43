"""Date and time, as sandboxed tools: here, elsewhere, and how long until a day. The daemon's moment comes along.

Runs in the child, which has no say in what time it is: `now` is ISO 8601 with its offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from perslm_daemon.tool_world import ToolError, World
from perslm_runtime.errors import InputError
from perslm_runtime.time_words import say_clock, when_of
from perslm_runtime.when import DAYS, PastError, resolve


def tell(arguments: Mapping[str, Any], _world: World) -> dict[str, Any]:
    """The date and time."""
    here = _now(arguments)
    said = f"{DAYS[here.weekday()]}, {here:%B} {here.day}, {here.year}, {say_clock(here)}"
    return {"text": said, "data": {"iso": here.isoformat(timespec="seconds")}}


def elsewhere(arguments: Mapping[str, Any], _world: World) -> str:
    """The time in the city `place`, whose `zone` the daemon has looked up."""
    here = _now(arguments)
    there = here.astimezone(ZoneInfo(str(arguments["zone"])))
    day = "" if there.date() == here.date() else f" on {DAYS[there.weekday()]}"
    return f"In {str(arguments['place']).title()} it is {say_clock(there)}{day}."


def until(arguments: Mapping[str, Any], _world: World) -> str:
    """How many days there are until the `day` that was said."""
    here, said = _now(arguments), str(arguments["day"])
    when = when_of(said) or when_of(f"on {said}")
    if when is None or not when.names_a_day:
        raise InputError(f"{said[:40]!r} is no day: say tomorrow, Friday, or December 24")
    try:
        days = (resolve(when, here).date() - here.date()).days
    except PastError as error:
        raise ToolError(str(error)) from error
    return "That is today." if not days else f"It is {days} day{'' if days == 1 else 's'} until then."


@cache
def places() -> dict[str, str]:
    """Cities that have a time zone of their name, lower case, with that zone. Reads the disk, once."""
    found = {}
    for zone in sorted(available_timezones()):
        continent, _, city = zone.rpartition("/")
        if continent and not continent.startswith(("Etc", "US", "SystemV", "posix", "right")):
            found[city.replace("_", " ").lower()] = zone
    return found


def _now(arguments: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(arguments["now"]))
