"""What is worth telling of what happens: notices made of the daemon's events, and of what devices report.

Knows the words; where they go, and when, is notify.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio

from perslm_daemon.bulletin import Bulletin, Happening
from perslm_daemon.home import Home
from perslm_daemon.home_device import Device, State
from perslm_daemon.notify import Notifications

_LOOK_S = 2.0
_LOW_BATTERY_PERCENT = 10.0
_ALARMS = {
    "smoke": "there is smoke",
    "gas": "there is gas",
    "carbon_monoxide": "there is carbon monoxide",
    "moisture": "there is water",
    "tamper": "somebody tampers with it",
}
_STEPS = {
    "in_use": "is in use now",
    "kept": "has proven itself",
    "refused": "was refused",
    "rolled_back": "was taken back",
}

Made = tuple[str, str, str, bool]
"""Of a notice: its text, urgency and subject, and whether the voice is left out."""


async def watch(bulletin: Bulletin, notifications: Notifications, about: frozenset[str]) -> None:
    """Make notices of events, of the subjects that are wanted. Runs until it is cancelled."""
    asked: dict[str, str] = {}  # questions that stand, with their notices: an answered one is nothing new any more
    async with bulletin.listen() as listener:
        async for notice in listener:
            if not isinstance(notice, Happening):
                continue
            if (made := notice_of(notice)) is not None:
                told = await _put(notifications, about, made)
                if told and made[2] == "approvals":
                    asked[_question_of(notice)] = told
            elif told := asked.pop(_question_of(notice), ""):
                await notifications.seen(told)


def _question_of(happening: Happening) -> str:
    """Which question an event asks or ends: the home has one at a time, which its next action ends."""
    if happening.event_type in ("home_confirmation", "home_action"):
        return "home"
    return str(happening.fields.get("id", "")) if happening.event_type == "approval" else ""


def notice_of(happening: Happening) -> Made | None:
    """What is to be told of an event; None for most."""
    fields = happening.fields
    match happening.event_type:
        case "timer_ringing" | "timer_missed" as what:
            return _of_timer(fields, "" if what == "timer_ringing" else " It rang while PersLM was off.")
        case "update" if fields.get("step") in _STEPS:
            why = f": {fields['why']}" if fields.get("why") else ""
            return f"The model {fields.get('name', '')} {_STEPS[fields['step']]}{why}", "normal", "updates", False
        case "approval" | "home_confirmation" if fields.get("question"):
            return str(fields["question"]), "high", "approvals", True  # who asked by voice has heard it
        case "warning" | "error" if fields.get("what") != "notify" and fields.get("message"):
            return str(fields["message"]), "normal", "warnings", False
    return None


def _of_timer(fields: Mapping[str, Any], more: str) -> Made:
    """What rings by itself is not said twice."""
    kind, name, text = fields.get("kind"), str(fields.get("name") or ""), str(fields.get("text") or "")
    if kind == "reminder":
        return f"Reminder: {text or name or 'now'}.{more}", "high", "reminders", not more
    if kind == "command":  # what failed when it was due was said then
        return f"I did not {name or text}: {fields.get('why')}.", "high", "timers", not fields.get("off")
    if kind == "alarm":
        return f"Alarm{f' {name}' if name else ''}.{more}", "high", "alarms", not more
    return f"The {f'{name} ' if name else ''}timer is up.{more}", "normal", "timers", not more


async def watch_devices(home: Home, notifications: Notifications, about: frozenset[str]) -> None:
    """Make notices of smoke, gas, water and empty batteries, once each time. Runs until it is cancelled."""
    told: dict[str, str] = {}
    seen = -1
    while True:
        number = home.changes
        for id_ in home.changed_since(seen):
            device = home.device(id_)
            trouble = "" if device is None else trouble_of(device, home.state(id_))
            if device is not None and trouble and told.get(id_) != trouble:
                urgency = "normal" if "battery" in trouble else "urgent"
                await _put(notifications, about, (f"{device.name}: {trouble}.", urgency, "devices", False))
            told[id_] = trouble
        seen = number
        await anyio.sleep(_LOOK_S)


def trouble_of(device: Device, state: State) -> str:
    """What is wrong by a device's own report; "" where nothing is."""
    values = state.values
    if device.kind in _ALARMS and values.get("on") is True:
        return _ALARMS[device.kind]
    if device.kind == "battery":
        level = values.get("value")
        if values.get("on") is True and device.domain == "binary_sensor":
            return "its battery is low"
        if isinstance(level, int | float) and not isinstance(level, bool) and level <= _LOW_BATTERY_PERCENT:
            return "its battery is low"
    return ""


async def _put(notifications: Notifications, about: frozenset[str], made: Made) -> str:
    """The notice's id; "" where nobody wants to be told of that."""
    text, urgency, subject, silent = made
    if subject not in about or not text.strip():
        return ""
    return (await notifications.put(text, urgency=urgency, subject=subject, silent=silent)).id
