"""The tools over parts that live in the daemon: timers, memory. They go the ways that these always go.

No child could hold them, and none is needed: a timer is a whole number and a unit of a list, and what is to be
recalled or remembered is bound as a value and never parsed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from perslm_daemon import schedule_words
from perslm_daemon.recollection import Recollection
from perslm_daemon.schedule import Schedule
from perslm_daemon.schedule_file import Kind
from perslm_daemon.tools import Caller, Manifest, Risk, Told, Tools
from perslm_daemon.wording import stopped
from perslm_runtime.tool_call import Names, Value, Whole, Words

_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
_RECALLED = 5

Now = Callable[[], datetime | None]


def add_timers(tools: Tools, schedule: Schedule, now: Now) -> None:
    """Timers, by the schedule."""

    async def start(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        seconds = int(arguments["amount"]) * _SECONDS[str(arguments["unit"])]
        item = await schedule.add(Kind.TIMER, seconds=seconds)
        view = next(view for view in schedule.views() if view.item.id == item.id)
        return Told(schedule_words.set_to(view, now()), data={"id": item.id})

    async def show(_arguments: Mapping[str, Value], _caller: Caller) -> Told:
        return Told(schedule_words.told(schedule.views(), now(), "There is no timer."))

    tools.register(
        Manifest(
            "timer_set",
            "Set a timer.",
            (Whole("amount", 1, 600), Names("unit", tuple(_SECONDS))),
            changes=("timers",),
            risk=Risk.CHANGES,
            question="set a timer for {amount} {unit}",
            family="timers",
            examples=(("The eggs need seven minutes.", 'timer_set(7, "minutes")'),),
        ),
        start,
    )
    tools.register(Manifest("timers_show", "Tell of the timers.", reads=("timers",), family="timers"), show)


def add_memory(tools: Tools, recollection: Recollection) -> None:
    """What is remembered of a person. Whatever is recalled may once have come from strangers."""

    async def recall(arguments: Mapping[str, Value], caller: Caller) -> Told:
        found = await recollection.recall(str(arguments["about"]), _RECALLED, caller.person)
        if not found:
            return Told("Nothing is remembered of that.")
        return Told(" ".join(stopped(one.text) for one in found), data={"ids": [one.id for one in found]})

    async def remember(arguments: Mapping[str, Value], caller: Caller) -> Told:
        fact = str(arguments["fact"])
        read = tools.has_read(caller.turn)
        source = f"tool {', '.join(read)}"[:200] if read else "told"
        await recollection.remember(stopped(fact[:1].upper() + fact[1:]), caller.person, source=source)
        return Told("I will remember that.")

    tools.register(
        Manifest(
            "memory_recall",
            "Look up what is remembered about something.",
            (Words("about", 200, any_start=True),),
            reads=("memory",),
            strangers=True,
            family="memory",
        ),
        recall,
    )
    tools.register(
        Manifest(
            "memory_remember",
            "Remember a fact.",
            (Words("fact", 300, any_start=True),),
            changes=("memory",),
            risk=Risk.CHANGES,
            question="remember {fact}",
            family="memory",
        ),
        remember,
    )
