"""The configuration of the home: its devices, how long each kind is waited for, and how Home Assistant sees us."""

from __future__ import annotations

from dataclasses import dataclass

from perslm_daemon.config_keys import Choice, Real, Switch, Text, key

TOPIC = Text(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}", "topic levels of a-z, A-Z, 0-9, _ and -")


@dataclass(frozen=True, slots=True)
class HomeAssistant:
    """How PersLM shows itself to Home Assistant over MQTT (docs/home-assistant.md)."""

    enabled: bool = key(True, Switch(), "announce this assistant to Home Assistant; false takes it out again")
    discovery_prefix: str = key("homeassistant", TOPIC, "the discovery prefix that Home Assistant is set to")
    style: str = key(
        "device", Choice(("device", "single")), "single announces entity by entity, for versions before 2024.11"
    )


_WAIT = Real(0.5, 120)


@dataclass(frozen=True, slots=True)
class Home:
    """The devices of the house, learned from what they announce on the broker (docs/home.md)."""

    enabled: bool = key(True, Switch(), "learn the devices on the broker, and work them")
    area: str = key(
        "", Text(r"[^\n]{0,80}", "the name of a room"), 'room this board is in: its light is "the light"'
    )
    tools: str = key(
        "auto",
        Choice(("auto", "on", "off")),
        "let the model choose what is done where no sentence fits; auto: where it has proven to (docs/tools.md)",
    )
    tools_ask: bool = key(
        True,
        Switch(),
        'ask ("Shall I turn on the lamp?") before what the model chose is done; off: it is done at once',
    )
    examples: bool = key(
        True,
        Switch(),
        "show the model example calls before it chooses; off for one that was taught to (`perslm-host student`)",
    )
    zigbee2mqtt: str = key(
        "zigbee2mqtt",
        Text(r"([A-Za-z0-9_/-]{1,64}( *, *[A-Za-z0-9_/-]{1,64}){0,9})?", "base topics with commas between"),
        "base topics of zigbee2mqtt, one for each hub; none where there is no hub",
    )
    discovery: str = key(
        "",
        Text(r"([A-Za-z0-9_/-]{1,64}( *, *[A-Za-z0-9_/-]{1,64}){0,9})?", "discovery prefixes with commas between"),
        "discovery prefixes that are read besides homeassistant.discovery_prefix",
    )
    tasmota: str = key("tasmota/discovery", TOPIC, "where Tasmota devices announce themselves")
    moment_s: float = key(
        2.0,
        Real(0.5, 60),
        'seconds of waiting for a device, or for anything, before a spoken turn says "One moment."',
    )
    light_s: float = key(4.0, _WAIT, "seconds a light or switch has to say that it did what it was told")
    cover_s: float = key(20.0, _WAIT, "seconds a cover or valve has to say so, or that it moves")
    lock_s: float = key(10.0, _WAIT, "seconds a lock or an alarm has to say so")
    climate_s: float = key(6.0, _WAIT, "seconds a thermostat or humidifier has to say so")
    other_s: float = key(5.0, _WAIT, "seconds any other device has to say so")
