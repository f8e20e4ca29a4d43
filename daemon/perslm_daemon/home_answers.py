"""Answers to questions about the home: what devices said of themselves, as a sentence, and no more than that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from perslm_daemon.home import Home
from perslm_daemon.home_called import the_room
from perslm_daemon.home_colors import name_of
from perslm_daemon.home_device import EVERYTHING, Device, State
from perslm_daemon.home_resolve import NothingError, Resolver, Where
from perslm_daemon.home_words import listed, state_words, the
from perslm_runtime.home_wish import Target, Wish

_MOST_ROOMS = 4
_SENSOR_WORDS = re.compile(r" (contact|opening|occupancy|presence|sensor|state)$", re.IGNORECASE)
_LOW_BATTERY = 20.0
_PAUSED = frozenset({"media_player", "vacuum", "lawn_mower"})
_OPENINGS = frozenset({"window", "door", "opening", "garage_door", "garage", "gate"})
SENSED: Mapping[str, tuple[str, str, str]] = {
    "temperature": ("temperature", "current_temperature", " degrees"),
    "humidity": ("humidity", "humidity", " percent"),
    "illuminance": ("illuminance", "illuminance", " lux"),
}
QUESTIONS = frozenset(
    {
        *("is_state", "which", "how_many", "state_of", "list", "value_of", *SENSED),
        *("setpoint", "brightness_of", "volume_of", "color_of", "position_of", "battery_of", "power_of"),
    }
)
"""The wishes that are questions."""


def answer(wish: Wish, home: Home, where: Where) -> tuple[str, tuple[str, ...]]:
    """The answer as a sentence, and the devices it is about. Raises `UnclearError` and `NothingError`."""
    if wish.name == "value_of":
        wish = value_wish(wish, home)
    if wish.name in ("is_state", "which", "how_many"):
        return _about_state(wish, home, where)
    if wish.name in SENSED:
        return _sensed(wish, home, where)
    if wish.name == "list":
        return _list(wish, home, where)
    return _one_value(wish, home, where)


def value_wish(wish: Wish, home: Home) -> Wish:
    """The name of a sensor alone as the question for its value."""
    kinds = {device.kind for id_ in wish.targets[0].ids if (device := home.device(id_)) is not None}
    told = {**{name: name for name in SENSED}, "battery": "battery_of", "power": "power_of"}
    asked = next((name for kind, name in told.items() if kinds == {kind}), "state_of")
    return replace(wish, name=asked)


def _name(device: Device) -> str:
    """A device in the middle of a sentence: "the kitchen window", whose sensor is called "... contact"."""
    if device.domain == "binary_sensor":
        return the(_SENSOR_WORDS.sub("", device.name) or device.name)
    return the(device.name)


# On, open, locked


def is_so(device: Device, state: State, word: str) -> bool | None:
    """Whether a device is as the word says; None where it cannot be or does not say."""
    if word == "unavailable":
        return state.available is False
    opposite, said = _SAID.get(word, ("", None))
    if said is None:
        return None
    found = said(device, state.values)
    return found if found is None or not opposite else not found


def _is_low(device: Device, values: Mapping[str, object]) -> bool | None:
    value = values.get("value", values.get("on"))
    if device.kind != "battery" or value is None:
        return None
    return value is True or (isinstance(value, int | float) and value < _LOW_BATTERY)


def _is_locked(device: Device, values: Mapping[str, object]) -> bool | None:
    return values["state"] == "locked" if device.domain == "lock" and "state" in values else None


def _is_armed(device: Device, values: Mapping[str, object]) -> bool | None:
    return values["state"] != "disarmed" if device.domain == "alarm_control_panel" and "state" in values else None


def _is_playing(device: Device, values: Mapping[str, object]) -> bool | None:
    if device.domain != "media_player":
        return None
    return values["state"] == "playing" if "state" in values else _is_on(device, values)


def _is_on(device: Device, values: Mapping[str, object]) -> bool | None:
    if isinstance(values.get("on"), bool):
        return bool(values["on"])
    if "mode" in values:
        return values["mode"] != "off"
    if device.domain == "alarm_control_panel":
        return _is_armed(device, values)
    if device.domain in ("media_player", "vacuum", "lawn_mower") and "state" in values:
        return values["state"] in ("on", "playing", "cleaning", "mowing", "returning")
    return None


def _is_open(device: Device, values: Mapping[str, object]) -> bool | None:
    if device.domain == "binary_sensor":
        return bool(values["on"]) if device.kind in _OPENINGS and "on" in values else None
    if device.domain in ("cover", "valve", "lock") and "state" in values:
        return (
            None
            if device.domain == "lock" and values["state"] != "open"
            else values["state"] in ("open", "opening", "closing")
        )
    position = values.get("position")
    return position > 0 if isinstance(position, int | float) else None


def _is_paused(device: Device, values: Mapping[str, object]) -> bool | None:
    return values["state"] == "paused" if "state" in values and device.domain in _PAUSED else None


def _is_docked(device: Device, values: Mapping[str, object]) -> bool | None:
    return values["state"] == "docked" if "state" in values and device.domain in ("vacuum", "lawn_mower") else None


Said = Callable[[Device, Mapping[str, object]], bool | None]
_SAID: Mapping[str, tuple[str, Said]] = {
    "on": ("", _is_on),
    "off": ("on", _is_on),
    "open": ("", _is_open),
    "closed": ("open", _is_open),
    "locked": ("", _is_locked),
    "unlocked": ("locked", _is_locked),
    "armed": ("", _is_armed),
    "disarmed": ("armed", _is_armed),
    "playing": ("", _is_playing),
    "paused": ("", _is_paused),
    "docked": ("", _is_docked),
    "low": ("", _is_low),
}
"""What tells each word, and of which other it is the opposite."""


def _about_state(wish: Wish, home: Home, where: Where) -> tuple[str, tuple[str, ...]]:
    word = wish.word or "on"
    if not wish.word and wish.name == "how_many":
        return _how_many_there_are(wish, home, where)

    def able(device: Device) -> bool:
        return is_so(device, home.state(device.id), word) is not None

    def default(device: Device) -> bool:
        if word in ("open", "closed"):
            return device.domain in ("cover", "binary_sensor", "valve")
        return device.domain in EVERYTHING or word not in ("on", "off")

    if wish.name == "which" and not wish.targets:
        wish = Wish(wish.name, (Target(every=True, many=True, quantity="any"),), wish.number, word, wish.place)
    verb = word if word in ("locked", "unlocked") else wish.name
    resolver = Resolver(home, where, able, verb, query=True)
    every = bool(wish.targets) and all(target.every for target in wish.targets)
    found = [device for device in resolver.all(wish, default) if able(device) and (not every or default(device))]
    so = [device for device in found if is_so(device, home.state(device.id), word)]
    ids = tuple(device.id for device in found)
    kind = _kind(wish, found)
    if wish.name == "how_many":
        return (
            f"{len(so)} {kind}{_s(kind, len(so))} {_are(len(so))} {word}{_which_ones(so)}"
            if so
            else f"no {kind} is {word}"
        ), ids
    if wish.name == "which" or (wish.word and not wish.targets):
        return (f"{_listed(so)} {_are(len(so))} {word}" if so else f"no {kind} is {word}"), ids
    return _yes_or_no(wish, found, so, word, kind), ids


def _yes_or_no(wish: Wish, found: Sequence[Device], so: Sequence[Device], word: str, kind: str) -> str:
    target = wish.targets[0] if wish.targets else Target(many=True)
    if len(found) == 1:
        one = found[0]
        return f"{'yes' if so else 'no'}, {_name(one)} is {word if so else _other(word)}"
    if target.quantity == "all" or (target.many and target.quantity == "" and not target.every):
        if len(so) == len(found):
            return f"yes, all {len(so)} {kind}{_s(kind, len(so))} are {word}"
        others = [device for device in found if device not in so]
        if target.quantity == "all" or len(others) < len(so):
            return f"no, {_listed(others)} {_are(len(others))} {_other(word)}"
    if so:
        return f"yes, {_listed(so)} {_are(len(so))} {word}"
    return f"no, no {kind} is {word}"


def _how_many_there_are(wish: Wish, home: Home, where: Where) -> tuple[str, tuple[str, ...]]:
    found = Resolver(home, where, lambda _device: True, query=True).all(
        wish, lambda device: bool(device.capabilities)
    )
    kind = _kind(wish, found)
    return f"there {_are(len(found))} {len(found)} {kind}{_s(kind, len(found))}", tuple(
        device.id for device in found
    )


def _kind(wish: Wish, found: Sequence[Device]) -> str:
    noun = wish.targets[0].noun if wish.targets else ""
    if noun:
        return {"climate": "thermostat", "media_player": "player", "garage": "garage door"}.get(
            noun, noun.replace("_", " ")
        )
    domains = {device.domain for device in found}
    return next(iter(domains)).replace("_", " ") if len(domains) == 1 else "device"


def _s(kind: str, count: int) -> str:
    return "" if count == 1 else "es" if kind.endswith(("ch", "s")) else "s"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _other(word: str) -> str:
    pairs = {"on": "off", "open": "closed", "locked": "unlocked", "armed": "disarmed"}
    return pairs.get(word) or {other: one for one, other in pairs.items()}.get(word) or f"not {word}"


def _listed(found: Sequence[Device]) -> str:
    return listed([_name(device) for device in found])


def _which_ones(found: Sequence[Device]) -> str:
    return f": {_listed(found)}" if 0 < len(found) <= 5 else ""


# Degrees and percents


def sensed_value(sensed: str, device: Device, home: Home) -> float | None:
    """The temperature, humidity or light that a device tells; None where it tells none."""
    kind, prop, _ = SENSED[sensed]
    values = home.state(device.id).values
    value: object = None
    if device.domain == "sensor" and device.kind == kind:
        value = values.get("value")
    elif device.domain == "climate":
        value = values.get(prop)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _sensed(wish: Wish, home: Home, where: Where) -> tuple[str, tuple[str, ...]]:
    unit = SENSED[wish.name][2]

    def value_of(device: Device) -> float | None:
        return sensed_value(wish.name, device, home)

    resolver = Resolver(home, where, lambda device: value_of(device) is not None, query=True)
    wanted = wish if wish.targets or wish.place else Wish(wish.name)
    if wanted.targets and all(target.noun or target.devices for target in wanted.targets):
        wanted = _of_sensor(wanted, home)
    found = [
        device
        for device in resolver.all(wanted, lambda device: value_of(device) is not None)
        if value_of(device) is not None
    ]
    sensors = [device for device in found if device.domain == "sensor"]
    found = _one_for_each_room(sensors, found)
    values = [(device, value) for device in found if (value := value_of(device)) is not None]
    if not values:
        raise NothingError(f"no device tells the {wish.name}{_where_words(wish, where)}")
    ids = tuple(device.id for device, _ in values)
    if len(values) == 1:
        return f"it is {_number(values[0][1])}{unit}{_in_room(values[0][0], wish)}", ids
    mean = sum(value for _, value in values) / len(values)
    said = f"it is {_number(mean)}{unit} on average{_where_words(wish, where)}"
    if len(values) <= _MOST_ROOMS:
        parts = [
            f"{_number(value)} in {the_room(device.area)}"
            if device.area
            else f"{_number(value)} at {_name(device)}"
            for device, value in values
        ]
        said += f": {listed(parts)}"
    return said, ids


def _of_sensor(wish: Wish, home: Home) -> Wish:
    """ "The temperature of the fridge": the sensor of the apparatus that is named."""
    ids = [id_ for target in wish.targets for id_ in target.ids]
    near = {device.physical for id_ in ids if (device := home.device(id_)) is not None and device.physical}
    beside = tuple(device.id for device in home.devices() if device.physical in near)
    if not beside:
        return wish
    first = wish.targets[0]
    return Wish(
        wish.name,
        (
            Target(
                devices=((*ids, *(id_ for id_ in beside if id_ not in ids)),),
                many=True,
                areas=first.areas,
                floors=first.floors,
            ),
        ),
        place=wish.place,
    )


def _one_for_each_room(sensors: Sequence[Device], found: Sequence[Device]) -> list[Device]:
    """Sensors, and thermostats only of rooms without one."""
    rooms = {device.area for device in sensors}
    return [device for device in found if device in sensors or device.area not in rooms]


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _in_room(device: Device, wish: Wish) -> str:
    place = wish.place or (wish.targets[0] if wish.targets else None)
    if place is not None and place.here:
        return " here"
    if device.area:
        return f" in {the_room(device.area)}"
    return f" at {_name(device)}"


def _where_words(wish: Wish, where: Where) -> str:
    place = wish.place or (wish.targets[0] if wish.targets else None)
    if place is not None and place.areas:
        return f" in {listed([the_room(area) for area in place.areas])}"
    if place is not None and place.floors:
        floors = listed([floor.lower() for floor in place.floors])
        return f" {floors}" if floors in ("upstairs", "downstairs") else f" on the {floors}"
    return " here" if place is not None and place.here and where.area else ""


# Single values


_TELLING = {"color_of": "set_color", "brightness_of": "set_brightness", "volume_of": "set_volume"}
"""What a device that can be set to it will tell once it is: until then it is asked rightly, and has no answer."""


def _one_value(wish: Wish, home: Home, where: Where) -> tuple[str, tuple[str, ...]]:
    props: Mapping[str, Callable[[Device, Mapping[str, object]], str | None]] = {
        "setpoint": lambda _, values: _told(values.get("temperature", values.get("humidity")), "is set to", ""),
        "brightness_of": lambda _, values: (
            "is off" if values.get("on") is False else _told(values.get("brightness"), "is at", " percent")
        ),
        "volume_of": lambda _, values: _told(values.get("volume"), "is at", " percent"),
        "color_of": lambda _, values: _color(values),
        "position_of": lambda _, values: _position(values),
        "battery_of": lambda device, values: (
            _told(values.get("value"), "has", " percent left") if device.kind == "battery" else None
        ),
        "power_of": lambda device, values: (
            _told(values.get("value"), "uses", f" {'watts' if device.unit == 'W' else device.unit}")
            if device.kind == "power"
            else None
        ),
        "state_of": _state_words,
    }
    said = props[wish.name]
    if wish.name in ("battery_of", "power_of") and wish.targets:
        wish = _of_sensor(wish, home)
    tells = _TELLING.get(wish.name, "")

    def able(device: Device) -> bool:
        return tells in device.capabilities or said(device, home.state(device.id).values) is not None

    resolver = Resolver(home, where, able, query=True)
    if not wish.targets and wish.place is None and wish.name not in ("battery_of", "power_of"):
        wish = Wish(wish.name, (Target(it=True),), word=wish.word)
    found = resolver.all(wish, lambda device: device.domain != "sensor" or wish.name in ("battery_of", "power_of"))
    parts: list[str] = []
    told: list[str] = []
    for device in found:
        values = home.state(device.id).values
        words = said(device, values)
        if words is not None:
            parts.append(f"{_name(device)} {words}")
            told.append(device.id)
        elif len(found) == 1:
            unknown = "is unavailable" if home.state(device.id).available is False else "has not told that yet"
            return f"{_name(device)} {unknown}", (device.id,)
    if not parts:
        raise NothingError("nothing tells that")
    return "; ".join(parts[:5]), tuple(told)


def _told(value: object, verb: str, unit: str) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return f"{verb} {_number(float(value))}{unit}"


def _color(values: Mapping[str, object]) -> str | None:
    color = values.get("color")
    if values.get("color_mode") == "color_temp" and isinstance(values.get("color_temp"), int | float):
        return f"is white, at {values['color_temp']:.0f} kelvin"
    return f"is {name_of((color[0], color[1]))}" if isinstance(color, tuple) and len(color) == 2 else None


def _position(values: Mapping[str, object]) -> str | None:
    position = values.get("position")
    if isinstance(position, int | float):
        return "is open" if position >= 99 else "is closed" if position <= 1 else f"is {position:g} percent open"
    return f"is {values['state']}" if "state" in values else None


def _state_words(device: Device, values: Mapping[str, object]) -> str | None:
    if not values:
        return None
    if device.domain == "sensor":
        return _told(values.get("value"), "says", f" {device.unit}".rstrip()) or (
            f"says {values['value']}" if "value" in values else None
        )
    if device.domain == "binary_sensor" and device.kind in _OPENINGS:
        return "is open" if values.get("on") else "is closed"
    if device.domain == "climate":
        parts = [
            _told(values.get("current_temperature"), "measures", " degrees"),
            _told(values.get("temperature"), "is set to", " degrees"),
            f"is in mode {values['mode']}" if "mode" in values else None,
        ]
        return listed([part for part in parts if part]) or None
    found = state_words(values)  # type: ignore[arg-type]  # values of a state
    return None if found == "has done it" else found


# What there is


def _list(wish: Wish, home: Home, where: Where) -> tuple[str, tuple[str, ...]]:
    if not wish.targets and wish.place is None and home.areas():
        rooms = [area.name for area in home.areas()]
        return f"the rooms are {listed([the_room(name) for name in rooms], 20)}", ()
    found = Resolver(home, where, lambda device: bool(device.capabilities) or bool(wish.targets), query=True).all(
        wish, lambda device: bool(device.capabilities)
    )
    return f"there {_are(len(found))} {listed([_name(device) for device in found], 10)}", tuple(
        device.id for device in found
    )
