"""Which devices a class word means: "lamp", "blind", "heating", "window". Pure, and of one device at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping

from perslm_daemon.home_device import Device

_WORDS: Mapping[str, str] = {
    "light": r"lights?|lamps?|bulbs?|lighting|spots?|spotlights?|chandelier|strip|led|downlights?|lanterns?"
    r"|sconces?|flood ?lights?|night ?lights?",
    "plug": r"plugs?|sockets?|outlets?",
    "switch": r"switch(es)?|relays?",
    "fan": r"fans?|ventilators?|ventilation",
    "blind": r"blinds?",
    "shutter": r"shutters?",
    "curtain": r"curtains?|drapes?",
    "shade": r"shades?",
    "awning": r"awnings?",
    "garage": r"garage door|garage",
    "gate": r"gates?",
    "window": r"windows?|skylight",
    "door": r"doors?",
    "lock": r"locks?",
    "climate": r"heating(?! (?:pad|blanket|lamp|mat)\b)"
    r"|heater|thermostat|radiator|boiler|ac|aircon|air condition(er|ing)|climate|heat pump",
    "humidifier": r"humidifier|dehumidifier",
    "media_player": r"tv|television|radio|stereo|speakers?|player|soundbar|music",
    "vacuum": r"vacuum|robot|hoover",
    "lawn_mower": r"mower",
    "siren": r"siren",
    "alarm": r"alarm",
    "valve": r"valve|tap",
    "motion": r"motion|occupancy|presence|movement",
    "smoke": r"smoke",
    "leak": r"leak|water|flood",
}
_NAMED = {noun: re.compile(rf"\b({words})\b", re.IGNORECASE) for noun, words in _WORDS.items()}
_DOMAINS: Mapping[str, frozenset[str]] = {
    "light": frozenset({"light"}),
    "fan": frozenset({"fan"}),
    "lock": frozenset({"lock"}),
    "climate": frozenset({"climate", "water_heater"}),
    "humidifier": frozenset({"humidifier"}),
    "media_player": frozenset({"media_player"}),
    "vacuum": frozenset({"vacuum"}),
    "lawn_mower": frozenset({"lawn_mower"}),
    "siren": frozenset({"siren"}),
    "alarm": frozenset({"alarm_control_panel"}),
    "valve": frozenset({"valve"}),
    "scene": frozenset({"scene"}),
    "switch": frozenset({"switch"}),
    "sensor": frozenset({"sensor", "binary_sensor"}),
}
_KINDS: Mapping[str, frozenset[str]] = {
    "motion": frozenset({"motion", "occupancy", "presence", "moving"}),
    "battery": frozenset({"battery"}),
    "smoke": frozenset({"smoke", "gas", "carbon_monoxide"}),
    "leak": frozenset({"moisture", "water_leak"}),
    "plug": frozenset({"outlet"}),
    "garage": frozenset({"garage", "garage_door"}),
    "gate": frozenset({"gate"}),
    "door": frozenset({"door", "garage", "garage_door", "gate"}),
    "window": frozenset({"window"}),
}
_OUTDOORS = re.compile(
    r"\b(outside|outdoors?|garden|green|terrace|balcony|patio|porch|yard|backyard|driveway|veranda|deck|carport|"
    r"exterior|pool)\b",
    re.IGNORECASE,
)
_PART_OF = frozenset(
    {
        "power",
        "energy",
        "voltage",
        "current",
        "battery",
        "signal_strength",
        "linkquality",
        "temperature",
        "humidity",
        "illuminance",
        "timestamp",
    }
)
_READINGS = frozenset({"sensor", "number", "select", "text", "button"})
_SWITCHED = frozenset({"switch", "light", "fan", "climate", "media_player"})
_WORKED = _SWITCHED | {"cover", "lock", "siren", "valve", "vacuum"}
_POWERED = frozenset({"plug", "light", "climate", "fan", "media_player"})
_BARRIERS = frozenset({"garage", "gate", "door", "window"})
_BARRED = frozenset({"cover", "lock", "switch"})
_BY_NAME = frozenset(_WORDS) - {"motion"}
_SHADING = frozenset({"blind", "shutter", "curtain", "shade", "awning", "cover"})
_RISKY = frozenset({"door", "garage", "gate", "window", "damper"})
_LOCKING = frozenset({"lock", "unlock", "locked", "unlocked"})


def fits(device: Device, noun: str, verb: str = "") -> bool:
    """Whether a device is one of a class. `verb` helps: doors that are to be locked are locks."""
    if device.domain in _READINGS and device.kind in _PART_OF and noun not in ("battery", "sensor"):
        return False
    if noun in _SHADING:
        return _shades(device, noun)
    if noun == "door" and verb in _LOCKING:
        return device.domain == "lock"
    if noun in ("window", "door") and device.domain in ("binary_sensor", "cover"):
        return _opens(device, noun)
    if device.domain in _DOMAINS.get(noun, ()) or device.kind in _KINDS.get(noun, ()):
        return noun != "switch" or not _NAMED["light"].search(device.short_name)
    return _is_named(device, noun)


def _opens(device: Device, noun: str) -> bool:
    """Whether a contact or a cover is of a window or a door: a "Skylight Blind" is of neither."""
    if device.domain == "cover":
        shades = any(_NAMED[kind].search(device.name) for kind in _SHADING - {"cover"})
        return not shades and (device.kind in _KINDS[noun] or _is_named(device, noun))
    window = device.kind == "window" or bool(_NAMED["window"].search(f"{device.name} {device.physical}"))
    return window if noun == "window" else device.kind in _KINDS["door"] and not window


def _is_named(device: Device, noun: str) -> bool:
    """Whether its own name says the class, of one that can be worked: a switch called "hall lamp"."""
    domains = _SWITCHED if noun in _POWERED else _BARRED if noun in _BARRIERS else _WORKED
    name = device.short_name if noun == "light" else device.name  # the heater of a "Lamp Room" is no lamp
    return (
        device.domain in domains
        and bool(device.capabilities)
        and noun in _BY_NAME
        and bool(_NAMED[noun].search(name))
    )


def is_called(device: Device, noun: str) -> bool:
    """Whether a shutter is called or announced as a shutter, and not only as something that shades too."""
    return noun in _SHADING and noun != "cover" and (device.kind == noun or bool(_NAMED[noun].search(device.name)))


def is_outside(device: Device) -> bool:
    """Whether a device is out of the house, by its room or its name."""
    return bool(_OUTDOORS.search(f"{device.area or ''} {device.floor or ''} {device.name}"))


def _shades(device: Device, noun: str) -> bool:
    """Covers that keep the sun out. A kind that is said is only passed over where nothing is called so."""
    if device.domain != "cover" or device.kind in _RISKY:
        return False
    called = next((kind for kind in _SHADING if kind != "cover" and _NAMED[kind].search(device.name)), None)
    return noun == "cover" or called is None or called == noun or {called, noun} <= {"blind", "shade", "shutter"}
