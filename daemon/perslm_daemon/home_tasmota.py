"""Reads what Tasmota devices announce on tasmota/discovery/MAC/config and /sensors.

Relays are switches or lights, pairs of shutter relays covers. Topics follow the device's own full topic with its
prefixes; states come as JSON on stat/…/RESULT, tele/…/STATE and tele/…/SENSOR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from perslm_daemon.home_colors import kelvin
from perslm_daemon.home_cover import CLOSING, MOVES, OPENING, POSITION_WITHIN
from perslm_daemon.home_device import Action, Value, Values
from perslm_daemon.home_discovery import normalised, slug
from perslm_daemon.home_entity import (
    Availability,
    Entity,
    Order,
    Payload,
    Physical,
    Plan,
    Read,
    Reading,
    Wanted,
    Work,
    fixed,
    is_on,
    number_of,
    percent,
    plain_name,
    text_of,
)
from perslm_daemon.home_light import light_verbs, scaled, wanted_of, wished
from perslm_daemon.home_templates import Warn
from perslm_daemon.topics import is_topic

SOURCE = "tasmota"
_RELAY, _LIGHT, _SHUTTER = 1, 2, 3
_DIMMER, _COLD_WARM, _RGB, _RGB_WHITE, _RGB_COLD_WARM = 1, 2, 3, 4, 5
_TOPIC = re.compile(r"([0-9A-Fa-f]{12})/(config|sensors)")
_UNITS = {
    "Temperature": ("temperature", "°C"),
    "Humidity": ("humidity", "%"),
    "Pressure": ("pressure", "hPa"),
    "Illuminance": ("illuminance", "lx"),
    "Power": ("power", "W"),
    "Voltage": ("voltage", "V"),
    "Current": ("current", "A"),
    "Total": ("energy", "kWh"),
    "Today": ("energy", "kWh"),
    "CarbonDioxide": ("carbon_dioxide", "ppm"),
}

Json = Mapping[str, Any]


class Tasmota:
    """The reader; keeps each device's configuration, because its sensors come in a message of their own."""

    def __init__(self, prefix: str, warn: Warn) -> None:
        self._prefix, self._warn = prefix, warn
        self._configs: dict[str, _Device] = {}
        self._sensors: dict[str, Json] = {}

    @property
    def filters(self) -> tuple[str, ...]:
        """What has to be listened to."""
        return (f"{self._prefix}/+/config", f"{self._prefix}/+/sensors")

    def mine(self, topic: str) -> bool:
        """Whether a topic is one of Tasmota's announcements."""
        return topic.startswith(f"{self._prefix}/")

    def sensors_of(self, topic: str) -> str | None:
        """The topic of a device's sensors when `topic` is its configuration: they have to be read anew with it."""
        found = _TOPIC.fullmatch(topic[len(self._prefix) + 1 :])
        return f"{self._prefix}/{found[1]}/sensors" if found and found[2] == "config" else None

    def read(self, topic: str, payload: bytes) -> Iterator[Entity]:
        """The entities of a message. What cannot be used is warned of, by its topic."""
        found = _TOPIC.fullmatch(topic[len(self._prefix) + 1 :])
        if found is None:
            return
        mac, what = found[1].upper(), found[2]
        kept: dict[str, Any] = self._configs if what == "config" else self._sensors
        kept.pop(mac, None)
        if not payload.strip():
            return
        try:
            message = msgspec.json.decode(payload)
            if what == "config":
                self._configs[mac] = device = _Device(message, mac)
                yield from device.entities()
            else:
                sensors = message["sn"]
                if not isinstance(sensors, dict):
                    raise TypeError("sn has to be an object")
                self._sensors[mac] = sensors
                if mac in self._configs:
                    yield from self._configs[mac].sensors(sensors)
        except (
            msgspec.DecodeError,
            RecursionError,
            AttributeError,
            IndexError,
            KeyError,
            TypeError,
            ValueError,
        ) as error:
            self._warn(topic, f"this announcement cannot be used: {_reason(error)}")


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return "it is no JSON" if isinstance(error, msgspec.DecodeError | RecursionError) else str(error)


class _Device:
    """One device by its configuration message."""

    def __init__(self, config: Json, mac: str) -> None:
        if str(config["mac"]).replace(":", "").upper() != mac:
            raise ValueError("its MAC address is another than its topic's")
        self._config, self._mac = config, mac
        self._options = {str(key): value for key, value in dict(config.get("so") or {}).items()}
        self._off, self._on = (str(word) for word in list(config["state"])[:2])
        self._relays = [int(relay) for relay in config["rl"]]
        self._command, self._stat, self._tele = (self._topic(number) for number in range(3))
        if not all(map(is_topic, (f"{self._command}X", f"{self._stat}X", f"{self._tele}X"))):
            raise ValueError("its full topic cannot be a topic")
        self._physical = Physical(plain_name(config.get("dn")), frozenset(normalised(mac)))
        here, gone = str(config.get("onln", "Online")), str(config.get("ofln", "Offline"))
        will = (f"{self._tele}LWT", lambda payload: is_on(payload.text, here, gone))
        self._availability = (Availability((will,)),)

    def _topic(self, prefix: int) -> str:
        made = str(self._config["ft"])
        for mark, value in (
            ("%prefix%", self._config["tp"][prefix]),
            ("%topic%", self._config["t"]),
            ("%hostname%", self._config.get("hn", "")),
            ("%id%", self._mac[-6:]),
        ):
            made = made.replace(mark, str(value))
        return made if made.endswith("/") else f"{made}/"

    def entities(self) -> Iterator[Entity]:
        """Relays, lights and shutters."""
        skip = -1
        shutter = 0
        single = sum(kind != 0 for kind in self._relays) == 1
        for index, kind in enumerate(self._relays):
            if index == skip or kind == 0:
                continue
            if kind == _SHUTTER:
                if index + 1 >= len(self._relays) or self._relays[index + 1] != _SHUTTER:
                    raise ValueError("a shutter has only one relay")
                skip, shutter = index + 1, shutter + 1
                yield self._shutter(shutter)
            elif kind == _LIGHT:
                yield self._light(index, single=single)
            elif kind == _RELAY:
                forced = bool(self._options.get("30")) or (bool(self._config.get("if")) and index == 0)
                yield self._relay(index, "light" if forced else "switch", single=single)

    def _made(
        self, domain: str, part: str, name: str, readings: list[Reading], works: dict[str, Work], **more: Any
    ) -> Entity:
        return Entity(
            key=f"tasmota.{self._mac.lower()}.{part}",
            source=SOURCE,
            domain=domain,
            name=plain_name(name) or self._physical.name,
            physical=self._physical,
            readings=tuple(readings),
            availability=self._availability,
            works=works,
            claims=frozenset(
                {f"{self._command}{part}", f"{self._command}{'POWER' if part == 'POWER1' else part}"}
            ),
            asks=(Order(f"{self._command}STATE", b""),),
            **more,
        )

    def _name(self, index: int) -> str:
        names = self._config.get("fn") or ()
        own = names[index] if index < len(names) else None
        return plain_name(own) or f"{self._physical.name} {index + 1}"

    def _power(self, index: int, *, single: bool) -> list[Reading]:
        keys = [f"POWER{index + 1}", *(["POWER"] if single or index == 0 else [])]

        def read(payload: Payload) -> Value | None:
            said = next((found for key in keys if (found := payload.field(key)) is not None), None)
            return None if said is None else is_on(str(said), self._on, self._off)

        readings = [Reading("on", topic, read) for topic in (f"{self._stat}RESULT", f"{self._tele}STATE")]
        plain = [f"{self._stat}{key}" for key in keys]
        return readings + [
            Reading("on", topic, lambda payload: is_on(payload.text, self._on, self._off)) for topic in plain
        ]

    def _order(self, command: str, value: object = "") -> Order:
        return Order(f"{self._command}{command}", str(value).encode())

    def _relay(self, index: int, domain: str, *, single: bool) -> Entity:
        works: dict[str, Work] = {}
        for verb, word, value in (("turn_on", self._on, True), ("turn_off", self._off, False)):
            plan = Plan((self._order(f"POWER{index + 1}", word),), (Wanted("on", (value,)),))
            works[verb] = fixed(plan)
        return self._made(domain, f"POWER{index + 1}", self._name(index), self._power(index, single=single), works)

    def _light(self, index: int, *, single: bool) -> Entity:
        subtype, channel = int(self._config.get("lt_st") or 0), bool(self._options.get("68"))
        dimmer, dimmer_state = "Dimmer", "Dimmer"
        if channel:
            subtype, dimmer, dimmer_state = _DIMMER, f"Channel{index + 1}", f"Channel{index + 1}"
        elif self._config.get("ty"):
            dimmer = "Dimmer3"
        elif not self._config.get("lk", 1) and subtype >= _RGB_WHITE:  # colour and white are two lights
            first = self._relays.index(_LIGHT)
            dimmer = dimmer_state = f"Dimmer{index - first + 1}"
            subtype = _RGB if index == first else _DIMMER if subtype == _RGB_WHITE else _COLD_WARM
        return self._made(
            "light",
            f"POWER{index + 1}",
            self._name(index),
            [*self._power(index, single=single), *self._light_readings(subtype, dimmer_state)],
            self._light_works(index, subtype, dimmer),
        )

    def _light_readings(self, subtype: int, dimmer_state: str) -> list[Reading]:
        reads = {"brightness": lambda payload: scaled(100)(str(payload.field(dimmer_state)))}
        if subtype >= _RGB:
            reads["color"] = _hsb
        if subtype in (_COLD_WARM, _RGB_COLD_WARM):
            reads["color_temp"] = lambda payload: kelvin(number_of(payload.field("CT")) or 0) or None
        topics = (f"{self._stat}RESULT", f"{self._tele}STATE")
        return [Reading(prop, topic, read) for prop, read in reads.items() for topic in topics if subtype]

    def _light_works(self, index: int, subtype: int, dimmer: str) -> dict[str, Work]:
        works: dict[str, Work] = {}
        least, most = (200, 380) if self._options.get("82") else (153, 500)

        def turn_on(action: Action, values: Values) -> Plan:
            wish = wished(action, values, works)
            orders = [self._order(f"POWER{index + 1}", self._on)]
            if wish.brightness is not None:
                dim = self._order(dimmer, max(1, round(wish.brightness)))
                orders = [dim, *orders] if self._options.get("20") else [dim]
            if wish.color is not None:
                orders += [
                    self._order("HsbColor1", round(wish.color[0])),
                    self._order("HsbColor2", round(wish.color[1])),
                ]
            if wish.kelvin is not None:
                orders.append(self._order("CT", round(max(least, min(most, kelvin(wish.kelvin))))))
            return Plan(tuple(orders), wanted_of(wish, lambda _: True), action.verb != "change_brightness")

        off = Plan((self._order(f"POWER{index + 1}", self._off),), (Wanted("on", (False,)),))
        for verb in light_verbs(
            brightness=subtype >= _DIMMER,
            color=subtype >= _RGB,
            temperature=subtype in (_COLD_WARM, _RGB_COLD_WARM),
            effect=False,
        ):
            works[verb] = turn_on if verb != "turn_off" else lambda _action, _values: off
        return works

    def _shutter(self, number: int) -> Entity:
        listed = self._config.get("sho") or ()
        inverted = bool(number <= len(listed) and int(listed[number - 1]) & 1)
        topics = (f"{self._stat}RESULT", f"{self._tele}SENSOR", f"{self._stat}SHUTTER{number}")

        def position(payload: Payload) -> Value | None:
            said = payload.field(f"Shutter{number}", "Position")
            found = number_of(
                said if said is not None else None if payload.json.__class__ is dict else payload.text
            )
            return None if found is None else 100 - found if inverted else found

        def state(payload: Payload) -> Value | None:
            direction = number_of(payload.field(f"Shutter{number}", "Direction"))
            if direction is None:
                return None
            if direction:
                return "opening" if (direction > 0) != inverted else "closing"
            return "closed" if position(payload) == 0 else "open"

        def move(action: Action, _values: Values) -> Plan:
            wish = percent(action)
            told = 100 - round(wish) if inverted else round(wish)
            order = self._order(f"ShutterPosition{number}", told)
            return Plan((order,), (Wanted("position", (wish,), POSITION_WITHIN),), True, MOVES)

        works: dict[str, Work] = {"set_position": move}
        for verb, command, states in (
            ("open", "ShutterOpen", OPENING),
            ("close", "ShutterClose", CLOSING),
            ("stop", "ShutterStop", ("open", "closed")),
        ):
            plan = Plan((self._order(f"{command}{number}"),), (Wanted("state", states),), True, MOVES)
            works[verb] = fixed(plan)
        readings = [Reading("position", topic, position) for topic in topics]
        readings += [Reading("state", topic, state) for topic in topics[:2]]
        return self._made("cover", f"Shutter{number}", f"{self._physical.name} shutter {number}", readings, works)

    def sensors(self, found: Json) -> Iterator[Entity]:
        """The sensors of a sensors message, by the names they have there."""
        in_fahrenheit = found.get("TempUnit") == "F"
        for group, values in list(found.items())[:50]:
            if not isinstance(values, dict):
                continue
            for name, value in list(values.items())[:50]:
                if number_of(value) is None or name in ("Id",):
                    continue
                kind, unit = _UNITS.get(name, (name.lower(), ""))
                unit = "°F" if kind == "temperature" and in_fahrenheit else unit
                shown = f"{self._physical.name} {plain_name(_words(name)).lower()}"
                path = (str(group), str(name))
                readings = [
                    Reading("value", f"{self._tele}SENSOR", _number_at(*path)),
                    Reading("value", f"{self._stat}STATUS10", _number_at("StatusSNS", *path)),
                ]
                yield self._made("sensor", slug(f"{group}_{name}"), shown, readings, {}, kind=kind, unit=unit)


def _number_at(*path: str) -> Read:
    return lambda payload: number_of(payload.field(*path))


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _hsb(payload: Payload) -> Value | None:
    said = text_of(payload.field("HSBColor"))
    numbers = [number_of(part) for part in (said or "").split(",")]
    if len(numbers) < 3 or numbers[0] is None or numbers[1] is None:
        return None
    return numbers[0] % 360, max(0.0, min(100.0, numbers[1]))
