"""Timers and memory as tools: what each takes, reads and changes. They run in the sandbox (tool_house.py), and
what they want of the schedule and the memory goes over the desk.
"""

from __future__ import annotations

from perslm_daemon.tool_desk import Desk
from perslm_daemon.tool_house import SECONDS
from perslm_daemon.tools import Limits, Manifest, Risk
from perslm_runtime.tool_call import Names, Whole, Words


def add_timers(desk: Desk, limits: Limits) -> None:
    """Timers, by the schedule."""
    desk.add(
        Manifest(
            "timer_set",
            "Set a timer.",
            (Whole("amount", 1, 600), Names("unit", tuple(SECONDS))),
            changes=("timers",),
            risk=Risk.CHANGES,
            question="set a timer for {amount} {unit}",
            family="timers",
            examples=(("The eggs need seven minutes.", 'timer_set(7, "minutes")'),),
            limits=limits,
        ),
        "perslm_daemon.tool_house:timer_set",
    )
    desk.add(
        Manifest("timers_show", "Tell of the timers.", reads=("timers",), family="timers", limits=limits),
        "perslm_daemon.tool_house:timers_show",
    )


def add_memory(desk: Desk, limits: Limits) -> None:
    """What is remembered of a person. Whatever is recalled may once have come from strangers."""
    desk.add(
        Manifest(
            "memory_recall",
            "Look up what is remembered about something.",
            (Words("about", 200, any_start=True),),
            reads=("memory",),
            strangers=True,
            family="memory",
            limits=limits,
        ),
        "perslm_daemon.tool_house:recall",
    )
    desk.add(
        Manifest(
            "memory_remember",
            "Remember a fact.",
            (Words("fact", 300, any_start=True),),
            changes=("memory",),
            risk=Risk.CHANGES,
            question="remember {fact}",
            family="memory",
            limits=limits,
        ),
        "perslm_daemon.tool_house:remember",
    )
