"""The home, the timers and the memory, as sandboxed tools: the words of a call become errands, and what came of
them a sentence.

Runs in the child, which holds none of the three: the daemon does each errand (tool_errands.py), or refuses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from perslm_daemon import schedule_words
from perslm_daemon.home_words import state_words, summary
from perslm_daemon.tool_errands import (
    Came,
    Devices,
    Keep,
    Named,
    Recall,
    Remembered,
    Running,
    Says,
    Seen,
    SetTimer,
    Shown,
    StateOf,
    Timers,
    Work,
    ask,
)
from perslm_daemon.tool_world import ToolError, World
from perslm_daemon.wording import stopped

SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
"""Of each unit that a timer can be given in."""
_MOST_TOLD = 60  # devices in one sentence


def devices(_arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """Which devices there are."""
    shown = ask(world, Devices(_MOST_TOLD), Shown)
    if not shown.devices:
        return {"text": "There are no devices."}
    told = ", ".join(f"{one.name} ({one.room})" for one in shown.devices)
    more = f" and {shown.count - len(shown.devices)} more" if shown.count > len(shown.devices) else ""
    return {"text": f"{told}{more}.", "source": "device names", "data": {"count": shown.count}}


def state(arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """How a device is."""
    device = _one(arguments, world)
    words = state_words(ask(world, StateOf(device.id), Says).values)
    return {"text": f"{device.name}: {words or 'nothing is known of it'}.", "source": device.name}


def work(arguments: Mapping[str, Any], world: World) -> str:
    """Do something with a device, or set it to a value; what came of it by its own report."""
    device = _one(arguments, world)
    value = arguments.get("value")
    errand = Work(device.id, str(arguments["action"]), None if value is None else int(value))
    came = ask(world, errand, Came)
    said = summary(came.outcomes, came.domains)
    return stopped(said[:1].upper() + said[1:])


def timer_set(arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """Set a timer."""
    seconds = int(arguments["amount"]) * SECONDS[str(arguments["unit"])]
    view = ask(world, SetTimer(seconds), Timers).views[0]
    return {"text": schedule_words.set_to(view, _now(arguments)), "data": {"id": view.item.id}}


def timers_show(arguments: Mapping[str, Any], world: World) -> str:
    """Which timers there are."""
    views = ask(world, Running(), Timers).views
    return schedule_words.told(views, _now(arguments), "There is no timer.")


def recall(arguments: Mapping[str, Any], world: World) -> dict[str, Any]:
    """What is remembered of something."""
    found = ask(world, Recall(str(arguments["about"])), Remembered).memories
    if not found:
        return {"text": "Nothing is remembered of that."}
    return {"text": " ".join(stopped(one.text) for one in found), "data": {"ids": [one.id for one in found]}}


def remember(arguments: Mapping[str, Any], world: World) -> str:
    """Remember a fact."""
    ask(world, Keep(as_fact(str(arguments["fact"]))), Remembered)
    return "I will remember that."


def as_fact(said: str) -> str:
    """A fact as it is kept: a sentence."""
    return stopped(said[:1].upper() + said[1:])


def _one(arguments: Mapping[str, Any], world: World) -> Seen:
    name = str(arguments["device"])
    found = ask(world, Named(name), Shown).devices
    if len(found) != 1:
        raise ToolError(f"{len(found) or 'no'} devices are called {name[:80]!r}: say which")
    return found[0]


def _now(arguments: Mapping[str, Any]) -> datetime | None:
    """The daemon's moment; None where nobody has set its clock."""
    return datetime.fromisoformat(str(arguments["now"])) if "now" in arguments else None
