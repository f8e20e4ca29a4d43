"""The home as tools: its devices told of, and worked the way that every command goes, confirmed and asked about.

The names of devices are what devices announce, so whoever reads them has read what strangers wrote. They run in
the sandbox (tool_house.py); what they want of the home goes over the desk.
"""

from __future__ import annotations

from perslm_daemon.tool_desk import Desk
from perslm_daemon.tools import Limits, Manifest, Risk
from perslm_runtime.tool_call import Names, Whole, Words

_ACTIONS = ("turn_on", "turn_off", "toggle", "open", "close", "lock", "unlock")
_LEVELS = ("set_brightness", "set_position", "set_temperature")


def add_home(desk: Desk, limits: Limits) -> None:
    """Tell of devices, work them."""
    device = Words("device", 100, any_start=True)
    desk.add(
        Manifest(
            "home_devices",
            "Tell which devices there are.",
            reads=("home",),
            strangers=True,
            family="home",
            limits=limits,
        ),
        "perslm_daemon.tool_house:devices",
    )
    desk.add(
        Manifest(
            "home_state",
            "Tell how a device is.",
            (device,),
            reads=("home",),
            strangers=True,
            family="home",
            limits=limits,
        ),
        "perslm_daemon.tool_house:state",
    )
    desk.add(
        Manifest(
            "home_do",
            "Do something with a device.",
            (Names("action", _ACTIONS), device),
            reads=("home",),
            changes=("home",),
            risk=Risk.CHANGES,
            question="do this with {device}: {action}",
            family="home",
            limits=limits,
        ),
        "perslm_daemon.tool_house:work",
    )
    desk.add(
        Manifest(
            "home_set",
            "Set a device to a percentage or a temperature.",
            (Names("action", _LEVELS), device, Whole("value", 0, 100)),
            reads=("home",),
            changes=("home",),
            risk=Risk.CHANGES,
            question="do this with {device}: {action} {value}",
            family="home",
            limits=limits,
        ),
        "perslm_daemon.tool_house:work",
    )
