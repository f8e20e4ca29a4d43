"""Simulated devices besides Zigbee ones, and what all simulated devices have in common.

Tasmota, ESPHome and a gateway with a device message, shaped as their documentation describes. Pure.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sent:
    """One message of a device."""

    topic: str
    payload: str
    retain: bool = False


Answer = Callable[[str], list[Sent]]


@dataclass(slots=True)
class SimDevice:
    """One simulated entity: what it is called, where it takes commands, and what it then reports."""

    name: str
    domain: str
    system: str
    answers: dict[str, Answer] = field(default_factory=dict)
    """By command topic: from a payload to what is reported."""

    report: Callable[[], list[Sent]] = list
    """What it says of itself unasked."""

    will: Sent | None = None
    """What the broker says when it vanishes."""


@dataclass(slots=True)
class SimHouse:
    """The house: announcements (all retained), and devices by name."""

    announcements: list[Sent] = field(default_factory=list)
    devices: list[SimDevice] = field(default_factory=list)
    entities: int = 0

    def answer(self, topic: str, payload: str) -> list[Sent]:
        """What the house reports after a command."""
        return [
            sent for device in self.devices if topic in device.answers for sent in device.answers[topic](payload)
        ]

    def command_topics(self) -> list[str]:
        """Every topic that commands go to."""
        return sorted({topic for device in self.devices for topic in device.answers})

    def reports(self) -> Iterable[Sent]:
        """What every device says of itself."""
        return (sent for device in self.devices for sent in device.report())


def mac_of(rng: random.Random) -> str:
    """A MAC address."""
    return "".join(f"{rng.randrange(256):02X}" for _ in range(6))


# Tasmota


def tasmota(house: SimHouse, _hub: object, area: str, rng: random.Random) -> None:
    """A socket that measures, and a dimmer with colour in every other room."""
    add_tasmota(house, f"{area} socket", [1], mac_of(rng), sensors=True)
    if rng.random() < 0.5:
        add_tasmota(house, f"{area} strip", [2], mac_of(rng), subtype=5)


def add_tasmota(
    house: SimHouse, name: str, relays: list[int], mac: str, *, subtype: int = 0, sensors: bool = False
) -> SimDevice:
    """A Tasmota device with relays (1), lights (2) or shutters (3, in pairs)."""
    topic = name.lower().replace(" ", "_")
    config = {
        "ip": "192.0.2.7",
        "dn": name,
        "fn": [name if number == 0 else f"{name} {number + 1}" for number in range(len(relays))] + [None] * 4,
        "hn": topic,
        "mac": mac,
        "md": "Sim",
        "ty": 0,
        "if": 0,
        "ofln": "Offline",
        "onln": "Online",
        "state": ["OFF", "ON", "TOGGLE", "HOLD"],
        "sw": "14.2.0",
        "t": topic,
        "ft": "%prefix%/%topic%/",
        "tp": ["cmnd", "stat", "tele"],
        "rl": relays + [0] * (8 - len(relays)),
        "swc": [-1] * 8,
        "swn": [None] * 8,
        "btn": [0] * 8,
        "so": {"4": 0, "11": 0, "13": 0, "17": 0, "20": 0, "30": 0, "68": 0, "73": 0, "82": 0, "114": 0, "117": 0},
        "lk": 1,
        "lt_st": subtype,
        "sho": [0, 0, 0, 0],
        "ver": 1,
    }
    state: dict[str, Any] = {}
    many = len(relays) > 1
    for number, kind in enumerate(relays):
        if kind != 3:
            state[f"POWER{number + 1}" if many else "POWER"] = "OFF"
    if subtype:
        state |= {"Dimmer": 40, "HSBColor": "120,100,40", "CT": 300}
    shutters = {number + 1: 0 for number in range(relays.count(3) // 2)}

    def report() -> list[Sent]:
        found = [Sent(f"tele/{topic}/STATE", json.dumps({"Uptime": "0T01:00:00", **state}))]
        values: dict[str, Any] = {f"Shutter{n}": {"Position": at, "Direction": 0} for n, at in shutters.items()}
        if sensors:
            values["ENERGY"] = {"Total": 1.2, "Power": 5, "Voltage": 230}
        return [*found, Sent(f"tele/{topic}/SENSOR", json.dumps({"Time": "2026-01-01T00:00:00", **values}))]

    device = SimDevice(
        name, "cover" if 3 in relays else "light" if 2 in relays else "switch", "tasmota", report=report
    )
    device.will = Sent(f"tele/{topic}/LWT", "Offline", True)
    _tasmota_answers(device, topic, state, shutters, relays)
    house.devices.append(device)
    house.announcements.append(Sent(f"tasmota/discovery/{mac}/config", json.dumps(config), True))
    house.announcements.append(Sent(f"tele/{topic}/LWT", "Online", True))
    sn: dict[str, Any] = {"Time": "2026-01-01T00:00:00"}
    if sensors:
        sn["ENERGY"] = {"Total": 1.2, "Power": 5, "Voltage": 230}
    house.announcements.append(Sent(f"tasmota/discovery/{mac}/sensors", json.dumps({"sn": sn, "ver": 1}), True))
    house.entities += sum(kind != 3 for kind in relays) + len(shutters) + (3 if sensors else 0)
    return device


def _tasmota_answers(
    device: SimDevice, topic: str, state: dict[str, Any], shutters: dict[int, int], relays: list[int]
) -> None:
    def result(body: dict[str, Any]) -> list[Sent]:
        return [Sent(f"stat/{topic}/RESULT", json.dumps(body))]

    def power(key: str) -> Answer:
        def take(payload: str) -> list[Sent]:
            now = state[key]
            state[key] = ("OFF" if now == "ON" else "ON") if payload == "TOGGLE" else payload
            return [*result({key: state[key]}), Sent(f"stat/{topic}/{key}", state[key])]

        return take

    for number in range(len(relays)):
        key = f"POWER{number + 1}" if f"POWER{number + 1}" in state else "POWER"
        if key in state:
            device.answers[f"cmnd/{topic}/POWER{number + 1}"] = power(key)
    device.answers[f"cmnd/{topic}/STATE"] = lambda _: result(dict(state))

    def light(key: str, change: Callable[[str], object]) -> Answer:
        def take(payload: str) -> list[Sent]:
            state[key], state["POWER"] = change(payload), "ON"
            return result(dict(state))

        return take

    def hsb(at: int) -> Callable[[str], object]:
        def change(payload: str) -> object:
            parts = str(state["HSBColor"]).split(",")
            parts[at] = payload
            return ",".join(parts)

        return change

    if "Dimmer" in state:
        device.answers[f"cmnd/{topic}/Dimmer"] = light("Dimmer", int)
        device.answers[f"cmnd/{topic}/CT"] = light("CT", int)
        device.answers[f"cmnd/{topic}/HsbColor1"] = light("HSBColor", hsb(0))
        device.answers[f"cmnd/{topic}/HsbColor2"] = light("HSBColor", hsb(1))

    def shutter(number: int, to: Callable[[str], int]) -> Answer:
        def take(payload: str) -> list[Sent]:
            before, shutters[number] = shutters[number], to(payload)
            direction = (shutters[number] > before) - (shutters[number] < before)
            moving = {"Position": before, "Direction": direction, "Target": shutters[number]}
            there = {"Position": shutters[number], "Direction": 0, "Target": shutters[number]}
            return result({f"Shutter{number}": moving}) + result({f"Shutter{number}": there})

        return take

    for number in shutters:
        device.answers[f"cmnd/{topic}/ShutterOpen{number}"] = shutter(number, lambda _: 100)
        device.answers[f"cmnd/{topic}/ShutterClose{number}"] = shutter(number, lambda _: 0)
        device.answers[f"cmnd/{topic}/ShutterPosition{number}"] = shutter(number, int)
        device.answers[f"cmnd/{topic}/ShutterStop{number}"] = shutter(number, _stays(shutters, number))


# ESPHome and a gateway: Home Assistant's discovery


def esphome(house: SimHouse, _hub: object, area: str, rng: random.Random) -> None:
    """A node with a lamp, a relay and two sensors."""
    node, mac = f"{area.lower().replace(' ', '-')}-node", mac_of(rng).lower()
    add_node(
        house,
        node,
        mac,
        [("light", f"{area} lamp"), ("switch", f"{area} relay"), ("sensor", f"{area} brightness")],
    )


def add_node(house: SimHouse, node: str, mac: str, parts: list[tuple[str, str]]) -> None:
    """An ESPHome node; `parts` are kinds with names."""
    device = {
        "ids": mac,
        "name": node,
        "sw": "esphome v2026.10.0",
        "mdl": "esp32dev",
        "mf": "Espressif",
        "cns": [["mac", mac]],
    }
    house.announcements.append(Sent(f"{node}/status", "online", True))
    for kind, name in parts:
        part = name.lower().replace(" ", "_")
        root = f"{node}/{kind}/{part}"
        config: dict[str, Any] = {
            "name": name,
            "uniq_id": f"ESP{kind}{part}",
            "avty_t": f"{node}/status",
            "dev": device,
        }
        config |= _ESPHOME[kind](root) if kind in _ESPHOME else {}
        if kind not in ("button", "scene"):
            config["stat_t"] = f"{root}/state"
        if kind not in ("sensor", "binary_sensor"):
            config["cmd_t"] = f"{root}/command"
        made = _esphome_device(kind, name, root)
        made.will = Sent(f"{node}/status", "offline", True)
        house.devices.append(made)
        house.announcements.append(Sent(f"homeassistant/{kind}/{node}/{part}/config", json.dumps(config), True))
        house.entities += 1


_ESPHOME: dict[str, Callable[[str], dict[str, Any]]] = {
    "light": lambda _: {
        "schema": "json",
        "brightness": True,
        "sup_clrm": ["rgb"],
        "fx": True,
        "effect_list": ["Rainbow"],
    },
    "sensor": lambda _: {"unit_of_meas": "lx", "stat_cla": "measurement", "dev_cla": "illuminance"},
    "binary_sensor": lambda _: {"dev_cla": "motion"},
    "number": lambda _: {"min": 0, "max": 50, "step": 0.5},
    "select": lambda _: {"options": ["eco", "comfort"]},
    "cover": lambda root: {"pos_t": f"{root}/position/state", "set_pos_t": f"{root}/position/command"},
    "fan": lambda root: {
        "osc_cmd_t": f"{root}/oscillation/command",
        "osc_stat_t": f"{root}/oscillation/state",
        "pct_cmd_t": f"{root}/speed_level/command",
        "pct_stat_t": f"{root}/speed_level/state",
        "spd_rng_min": 1,
        "spd_rng_max": 4,
    },
}


def _echo(topic: str) -> Answer:
    return lambda payload: [Sent(topic, payload, True)]


def _stays(shutters: dict[int, int], number: int) -> Callable[[str], int]:
    return lambda _payload: shutters[number]


def _esphome_device(kind: str, name: str, root: str) -> SimDevice:
    state: dict[str, Any] = {"state": "OFF", "position": 0}

    def say(value: str) -> list[Sent]:
        return [Sent(f"{root}/state", value, True)]

    def light(payload: str) -> list[Sent]:
        body = json.loads(payload)
        if "color" in body:
            body["color_mode"] = "rgb"
        state.update(body)
        return say(json.dumps({key: value for key, value in state.items() if key != "position"}))

    def lock(payload: str) -> list[Sent]:
        return say({"LOCK": "LOCKED", "UNLOCK": "UNLOCKED"}.get(payload, "JAMMED"))

    def cover(payload: str) -> list[Sent]:
        state["position"] = {"OPEN": 100, "CLOSE": 0}.get(payload, state["position"])
        words = {"OPEN": ("opening", "open"), "CLOSE": ("closing", "closed"), "STOP": ("open",)}[payload]
        reported = [sent for word in words for sent in say(word)]
        return [*reported, Sent(f"{root}/position/state", str(state["position"]), True)]

    def valve(payload: str) -> list[Sent]:
        words = ("opening", "open") if payload == "OPEN" else ("closing", "closed")
        return [sent for word in words for sent in say(word)]

    def to_position(payload: str) -> list[Sent]:
        state["position"] = float(payload)
        return [Sent(f"{root}/position/state", payload, True)]

    device = SimDevice(name, kind, "esphome")
    takes: dict[str, Answer] = {
        "light": light,
        "lock": lock,
        "cover": cover,
        "valve": valve,
        "button": lambda _: [],
    }
    if kind not in ("sensor", "binary_sensor"):
        device.answers[f"{root}/command"] = takes.get(kind, say)
    if kind == "cover":
        device.answers[f"{root}/position/command"] = to_position
    if kind == "fan":
        for part in ("oscillation", "speed_level"):
            device.answers[f"{root}/{part}/command"] = _echo(f"{root}/{part}/state")
    first = {"light": '{"state":"OFF"}', "sensor": "120.5", "lock": "LOCKED", "cover": "closed", "number": "20"}
    device.report = lambda: say(first.get(kind, "OFF")) if kind not in ("button", "scene") else []
    return device


def gateway(house: SimHouse, _hub: object, area: str, rng: random.Random) -> None:
    """A device message with two components, templates on both ways."""
    id_ = f"gw{mac_of(rng).lower()}"
    root = f"gateway/{id_}"
    state = {"heater": "OFF", "level": 10}
    house.announcements.append(
        Sent(
            f"homeassistant/device/{id_}/config",
            json.dumps(
                {
                    "dev": {"ids": [id_], "name": f"{area} gateway", "sa": area, "mf": "Sim"},
                    "o": {"name": "sim2mqtt", "sw": "1.0", "url": "https://example.com/sim"},
                    "cmps": {
                        "heater": {
                            "p": "switch",
                            "name": "Heater",
                            "uniq_id": f"{id_}_heater",
                            "cmd_t": f"{root}/set",
                            "cmd_tpl": '{"heater": "{{ value }}"}',
                            "val_tpl": "{{ value_json.heater }}",
                        },
                        "level": {
                            "p": "number",
                            "name": "Level",
                            "uniq_id": f"{id_}_level",
                            "cmd_t": f"{root}/set",
                            "cmd_tpl": '{"level": {{ value }} }',
                            "val_tpl": "{{ value_json.level | float | round(1) }}",
                            "min": 0,
                            "max": 20,
                        },
                    },
                    "stat_t": f"{root}/state",
                    "avty_t": f"{root}/state",
                    "avty_tpl": "{{ 'online' if value_json is defined else 'offline' }}",
                    "qos": 1,
                }
            ),
            True,
        )
    )

    def take(payload: str) -> list[Sent]:
        state.update(json.loads(payload))
        return [Sent(f"{root}/state", json.dumps(state), True)]

    def report() -> list[Sent]:
        return [Sent(f"{root}/state", json.dumps(state), True)]

    house.devices.append(SimDevice(f"{area} gateway Heater", "switch", "gateway", {f"{root}/set": take}, report))
    house.entities += 2
