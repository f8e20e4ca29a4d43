"""The home as tools: its devices told of, and worked the way that every command goes, confirmed and asked about.

The names of devices are what devices announce, so whoever reads them has read what strangers wrote.
"""

from __future__ import annotations

from collections.abc import Mapping

from perslm_daemon.home import Home
from perslm_daemon.home_command import Grant
from perslm_daemon.home_device import Action, Device, Happened
from perslm_daemon.home_words import state_words
from perslm_daemon.tools import Caller, Manifest, NeedsYes, Risk, Told, Tools
from perslm_daemon.wording import stopped
from perslm_runtime.errors import ToolRefused
from perslm_runtime.tool_call import Names, Value, Whole, Words

_ACTIONS = ("turn_on", "turn_off", "toggle", "open", "close", "lock", "unlock")
_LEVELS = ("set_brightness", "set_position", "set_temperature")
_MOST_TOLD = 60


def add_home(tools: Tools, home: Home) -> None:
    """Tell of devices, work them."""

    def one(name: str) -> Device:
        found = [device for device in home.find(name) if not device.hidden]
        if len(found) != 1:
            raise ToolRefused(f"{len(found) or 'no'} devices are called {name[:80]!r}: say which")
        return found[0]

    async def work(device: Device, action: Action, caller: Caller) -> Told:
        grant = Grant.CONFIRMED if caller.yes else Grant.ASK
        outcomes = await home.act([device.id], action, grant=grant, by=caller.source)
        pending = home.pending
        asked = [one for one in outcomes if one.happened is Happened.NEEDS_CONFIRMATION]
        if asked and pending is not None and pending.question == asked[0].sentence:  # and nobody else's question
            await home.confirm(False, pending.id, by=caller.source)  # one question stands, and it is ours

            async def confirmed() -> str:
                done = await home.act([device.id], action, grant=Grant.CONFIRMED, by=caller.source)
                return _stop(home.summary(done))

            raise NeedsYes(pending.question, confirmed)
        return Told(_stop(home.summary(outcomes)))

    async def do(arguments: Mapping[str, Value], caller: Caller) -> Told:
        return await work(one(str(arguments["device"])), Action(str(arguments["action"])), caller)

    async def level(arguments: Mapping[str, Value], caller: Caller) -> Told:
        action = Action(str(arguments["action"]), int(arguments["value"]))
        return await work(one(str(arguments["device"])), action, caller)

    async def state(arguments: Mapping[str, Value], _caller: Caller) -> Told:
        device = one(str(arguments["device"]))
        words = state_words(home.state(device.id).values)
        return Told(f"{device.name}: {words or 'nothing is known of it'}.", device.name)

    async def devices(_arguments: Mapping[str, Value], _caller: Caller) -> Told:
        shown = [device for device in home.devices() if not device.hidden]
        if not shown:
            return Told("There are no devices.")
        told = [f"{device.name} ({device.area or device.domain})" for device in shown[:_MOST_TOLD]]
        more = f" and {len(shown) - _MOST_TOLD} more" if len(shown) > _MOST_TOLD else ""
        return Told(f"{', '.join(told)}{more}.", "device names", {"count": len(shown)})

    device = Words("device", 100, any_start=True)
    tools.register(
        Manifest("home_devices", "Tell which devices there are.", reads=("home",), strangers=True, family="home"),
        devices,
    )
    tools.register(
        Manifest("home_state", "Tell how a device is.", (device,), ("home",), strangers=True, family="home"), state
    )
    tools.register(
        Manifest(
            "home_do",
            "Do something with a device.",
            (Names("action", _ACTIONS), device),
            changes=("home",),
            risk=Risk.CHANGES,
            question="do this with {device}: {action}",
            family="home",
        ),
        do,
    )
    tools.register(
        Manifest(
            "home_set",
            "Set a device to a percentage or a temperature.",
            (Names("action", _LEVELS), device, Whole("value", 0, 100)),
            changes=("home",),
            risk=Risk.CHANGES,
            question="do this with {device}: {action} {value}",
            family="home",
        ),
        level,
    )


def _stop(text: str) -> str:
    return stopped(text[:1].upper() + text[1:])
