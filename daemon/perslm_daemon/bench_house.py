"""A house of simulated devices that announce themselves, answer and report as real systems do; from a seed.

zigbee2mqtt, Tasmota, ESPHome and a gateway with Home Assistant's device messages, shaped as their documentation
describes. Pure: messages in, messages out; who uses it brings the broker. For benchmarks and tests.
"""

from __future__ import annotations

import json
import random
from typing import Any

from perslm_daemon.bench_devices import Sent, SimDevice, SimHouse, esphome, gateway, tasmota

AREAS = (
    *(
        "Kitchen",
        "Living Room",
        "Bedroom",
        "Bathroom",
        "Hallway",
        "Office",
        "Nursery",
        "Dining Room",
        "Guest Room",
    ),
    *(
        "Attic",
        "Basement",
        "Garage",
        "Garden",
        "Terrace",
        "Balcony",
        "Study",
        "Laundry Room",
        "Pantry",
        "Workshop",
    ),
    "Porch",
)


def make_house(seed: int = 1, areas: int = 20, entities: int = 400) -> SimHouse:
    """A house of so many rooms with at least so many entities; the same for the same seed."""
    rng, house, hub = random.Random(seed), SimHouse(), _Hub()  # noqa: S311 - a house, no secret
    number = 0
    while house.entities < entities:
        area = AREAS[number % min(areas, len(AREAS))]
        round_ = number // min(areas, len(AREAS))
        name = area if round_ == 0 else f"{area} {round_ + 1}"
        for make in (_bulb, _plug, tasmota, esphome, _sensors, _blind, gateway)[number % 2 :]:
            if house.entities < entities:
                make(house, hub, name, rng)
        number += 1
    hub.announce(house)
    return house


class _Hub:
    """A zigbee2mqtt: its devices, each with a state that commands change."""

    def __init__(self, base: str = "zigbee2mqtt") -> None:
        self.base = base
        self.devices: list[dict[str, Any]] = [
            {"ieee_address": "0x00124b0000000000", "type": "Coordinator", "friendly_name": "Coordinator"}
        ]

    def add(
        self,
        house: SimHouse,
        rng: random.Random,
        name: str,
        domain: str,
        exposes: list[Any],
        state: dict[str, Any],
    ) -> SimDevice:
        topic = f"{self.base}/{name.lower().replace(' ', '_')}"
        self.devices.append(
            {
                "ieee_address": f"0x00158d{rng.randrange(1 << 40):010x}",
                "type": "Router",
                "network_address": rng.randrange(65536),
                "supported": True,
                "friendly_name": topic.removeprefix(f"{self.base}/"),
                "definition": {
                    "model": "SIM",
                    "vendor": "Sim",
                    "description": domain,
                    "exposes": exposes,
                    "options": [],
                },
                "power_source": "Mains (single phase)",
                "interview_completed": True,
                "disabled": False,
            }
        )

        def report() -> list[Sent]:
            return [Sent(topic, json.dumps(state)), Sent(f"{topic}/availability", '{"state":"online"}', True)]

        def take(payload: str) -> list[Sent]:
            _merge(state, json.loads(payload))
            return [Sent(topic, json.dumps(state))]

        device = SimDevice(
            topic.removeprefix(f"{self.base}/").replace("_", " "),
            domain,
            "zigbee2mqtt",
            {f"{topic}/set": take, f"{topic}/get": lambda _: [Sent(topic, json.dumps(state))]},
            report,
            Sent(f"{topic}/availability", '{"state":"offline"}', True),
        )
        house.devices.append(device)
        return device

    def announce(self, house: SimHouse) -> None:
        house.announcements += [
            Sent(f"{self.base}/bridge/state", '{"state":"online"}', True),
            Sent(f"{self.base}/bridge/devices", json.dumps(self.devices), True),
            Sent(f"{self.base}/bridge/groups", "[]", True),
        ]


def _merge(state: dict[str, Any], wish: dict[str, Any]) -> None:
    """What a Zigbee device makes of a command."""
    for key, value in wish.items():
        if key == "color" and isinstance(value, dict):
            state["color"] = {**state.get("color", {}), **value}
            state["color_mode"] = "hs"
        elif key == "position":
            state["position"], state["state"] = value, "OPEN" if value else "CLOSE"
        elif key == "state" and value in ("OPEN", "CLOSE") and "position" in state:
            state["position"], state["state"] = (100 if value == "OPEN" else 0), value
        elif key == "state" and value in ("LOCK", "UNLOCK"):
            state["state"], state["lock_state"] = value, "locked" if value == "LOCK" else "unlocked"
        else:
            state[key] = value


def _binary(name: str, on: object, off: object, access: int = 7, **more: Any) -> dict[str, Any]:
    body = {"type": "binary", "name": name, "property": name, "value_on": on, "value_off": off, "access": access}
    return body | more


def _numeric(name: str, access: int = 7, **more: Any) -> dict[str, Any]:
    return {"type": "numeric", "name": name, "property": name, "access": access, **more}


def _enum(name: str, values: list[str], access: int = 7, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "property": name, "values": values, "access": access, **more}


_ON_OFF = _binary("state", "ON", "OFF", value_toggle="TOGGLE")
_LINK = _numeric("linkquality", 1, unit="lqi", value_min=0, value_max=255, category="diagnostic")


def _bulb(house: SimHouse, hub: _Hub, area: str, rng: random.Random) -> None:
    xy = {"type": "composite", "name": "color_xy", "property": "color", "features": [_numeric("x"), _numeric("y")]}
    features = [
        _ON_OFF,
        _numeric("brightness", value_min=0, value_max=254),
        _numeric("color_temp", value_min=153, value_max=500, unit="mired"),
        xy,
    ]
    effect = _enum("effect", ["blink", "breathe", "okay"], 2)
    state = {"state": rng.choice(["ON", "OFF"]), "brightness": rng.randrange(1, 255), "color_temp": 300}
    state |= {"color": {"x": 0.3, "y": 0.3}, "color_mode": "color_temp", "linkquality": 80}
    hub.add(
        house,
        rng,
        f"{area} ceiling light",
        "light",
        [{"type": "light", "features": features}, effect, _LINK],
        state,
    )
    house.entities += 1


def _plug(house: SimHouse, hub: _Hub, area: str, rng: random.Random) -> None:
    exposes = [
        {"type": "switch", "features": [_ON_OFF]},
        _numeric("power", 5, unit="W"),
        _numeric("energy", 5, unit="kWh"),
        _enum("power_outage_memory", ["on", "off", "restore"], category="config"),
        _LINK,
    ]
    state = {"state": "OFF", "power": 0.0, "energy": 1.5, "power_outage_memory": "restore", "linkquality": 90}
    hub.add(house, rng, f"{area} plug", "switch", exposes, state)
    house.entities += 4


def _sensors(house: SimHouse, hub: _Hub, area: str, rng: random.Random) -> None:
    climate = [
        _numeric("temperature", 1, unit="°C"),
        _numeric("humidity", 1, unit="%"),
        _numeric("battery", 1, unit="%"),
    ]
    state = {"temperature": round(rng.uniform(17, 26), 1), "humidity": rng.randrange(30, 70), "battery": 90}
    hub.add(house, rng, f"{area} climate", "sensor", [*climate, _LINK], state)
    hub.add(house, rng, f"{area} window", "binary_sensor", [_binary("contact", False, True, 1)], {"contact": True})
    hub.add(
        house, rng, f"{area} motion", "binary_sensor", [_binary("occupancy", True, False, 1)], {"occupancy": False}
    )
    house.entities += 5


def _blind(house: SimHouse, hub: _Hub, area: str, rng: random.Random) -> None:
    features = [_enum("state", ["OPEN", "CLOSE", "STOP"], 3), _numeric("position", value_min=0, value_max=100)]
    hub.add(
        house,
        rng,
        f"{area} blind",
        "cover",
        [{"type": "cover", "features": features}],
        {"position": 100, "state": "OPEN"},
    )
    setpoint = _numeric("occupied_heating_setpoint", value_min=5, value_max=30, value_step=0.5, unit="°C")
    trv = [
        setpoint,
        _numeric("local_temperature", 5, unit="°C"),
        _enum("system_mode", ["off", "auto", "heat"]),
        _enum("running_state", ["idle", "heat"], 5),
    ]
    state = {
        "occupied_heating_setpoint": 20,
        "local_temperature": 19.5,
        "system_mode": "heat",
        "running_state": "idle",
    }
    hub.add(house, rng, f"{area} radiator", "climate", [{"type": "climate", "features": trv}], state)
    house.entities += 2


def add_lock_and_fan(house: SimHouse, hub_devices: list[dict[str, Any]], seed: int = 7) -> None:
    """A lock, a fan and a plug with two sockets, into the list of a hub that is yet to be announced."""
    hub, rng = _Hub(), random.Random(seed)  # noqa: S311 - as above
    hub.devices = hub_devices
    lock = [_binary("state", "LOCK", "UNLOCK"), _enum("lock_state", ["not_fully_locked", "locked", "unlocked"], 1)]
    hub.add(
        house,
        rng,
        "Front door lock",
        "lock",
        [{"type": "lock", "features": lock}],
        {"state": "LOCK", "lock_state": "locked"},
    )
    fan = [_binary("state", "ON", "OFF"), _enum("mode", ["off", "low", "medium", "high", "on", "auto"])]
    fan[0]["property"], fan[1]["property"] = "fan_state", "fan_mode"
    hub.add(
        house,
        rng,
        "Ceiling fan",
        "fan",
        [{"type": "fan", "features": fan}],
        {"fan_state": "OFF", "fan_mode": "off"},
    )
    exposes = []
    for side in ("left", "right"):
        feature = {**_ON_OFF, "property": f"state_{side}", "endpoint": side}
        exposes.append({"type": "switch", "endpoint": side, "features": [feature]})
    hub.add(house, rng, "Desk sockets", "switch", exposes, {"state_left": "OFF", "state_right": "ON"})
    house.entities += 4
