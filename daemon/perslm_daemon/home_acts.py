"""Wishes as actions: which verb of a device does what was said, and with which value.

One wish may be several actions: "turn on the evening" is a scene to one device and a lamp to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from perslm_daemon.home import Home
from perslm_daemon.home_colors import color_named
from perslm_daemon.home_device import Action, Device
from perslm_daemon.home_resolve import Act, NothingError, Resolver, UnclearError, Where
from perslm_daemon.home_words import the
from perslm_runtime.home_wish import Target, Wish

_STEP_PERCENT = 20
_STEP_DEGREES = 1
_STEP_VOLUME = 10
_LEVELS = {"low": 20.0, "medium": 50.0, "high": 100.0, "night": 5.0}
_SPEEDS = {"low": 33.0, "medium": 66.0, "high": 100.0, "silent": 20.0, "turbo": 100.0}

_STEPPED = frozenset(
    {
        "change_temperature",
        "change_volume",
        "change_speed",
        "change_brightness",
        "change_position",
        "raise",
        "lower",
    }
)

_VERBS: Mapping[str, tuple[str, ...]] = {
    "turn_on": ("turn_on", "activate", "start", "press", "play", "arm_away"),
    "turn_off": ("turn_off", "stop", "pause", "disarm"),
    "toggle": ("toggle",),
    "open": ("open", "unlock"),
    "raise": ("open", "change_brightness", "change_temperature", "set_percentage", "set_volume"),
    "lower": ("close", "change_brightness", "change_temperature", "set_percentage", "set_volume"),
    "raise_fully": ("open", "set_brightness", "set_percentage", "set_volume"),
    "lower_fully": ("close", "set_brightness", "set_percentage", "set_volume"),
    "close": ("close",),
    "stop": ("stop", "pause", "turn_off"),
    "lock": ("lock",),
    "unlock": ("unlock",),
    "start": ("start", "turn_on", "activate", "press", "play", "arm_away"),
    "pause": ("pause", "stop"),
    "play": ("play", "start"),
    "next": ("next",),
    "previous": ("previous",),
    "press": ("press", "activate", "turn_on"),
    "activate": ("activate", "press", "turn_on", "start"),
    "vacuum_dock": ("return_to_base",),
    "vacuum_locate": ("locate",),
    "arm_away": ("arm_away",),
    "arm_home": ("arm_home",),
    "arm_night": ("arm_night",),
    "disarm": ("disarm",),
    "set_position": (
        "set_position",
        "set_brightness",
        "set_percentage",
        "set_humidity",
        "set_volume",
        "set_value",
    ),
    "change_position": ("set_position", "open", "close"),
    "set_humidity": ("set_humidity",),
    "set_temperature": ("set_temperature",),
    "change_temperature": ("change_temperature", "set_temperature"),
    "set_mode": (
        "set_mode",
        "set_preset",
        "set_fan_mode",
        "set_percentage",
        "select",
        "set_fan_speed",
        "set_brightness",
    ),
    "set_speed": ("set_percentage",),
    "change_speed": ("set_percentage",),
    "set_volume": ("set_volume",),
    "change_volume": ("set_volume",),
    "set_color_temp": ("set_color_temp",),
    "set_color": ("set_color",),
    "set_brightness": (
        "set_brightness",
        "set_percentage",
        "set_position",
        "set_temperature",
        "set_humidity",
        "set_volume",
        "set_value",
    ),
    "change_brightness": ("change_brightness", "set_percentage", "change_temperature", "set_volume"),
    "set_number": ("set_value",),
    "set_tilt": ("set_tilt",),
    "set_direction": ("set_direction",),
    "set_oscillating": ("set_oscillating",),
    "select": ("select",),
    "lighten": ("turn_on",),
}
"""For each wish the verbs that do it, the first that a device has."""

_ALONE: Mapping[str, frozenset[str]] = {
    "turn_on": frozenset({"light"}),
    "toggle": frozenset({"light"}),
    "lighten": frozenset({"light"}),
    "set_brightness": frozenset({"light"}),
    "change_brightness": frozenset({"light"}),
    "set_color": frozenset({"light"}),
    "set_color_temp": frozenset({"light"}),
    "open": frozenset({"cover"}),
    "raise": frozenset({"cover"}),
    "lower": frozenset({"cover"}),
    "close": frozenset({"cover"}),
    "stop": frozenset({"cover"}),
    "set_position": frozenset({"cover"}),
    "lock": frozenset({"lock"}),
    "unlock": frozenset({"lock"}),
    "set_temperature": frozenset({"climate", "water_heater"}),
    "change_temperature": frozenset({"climate"}),
    "set_humidity": frozenset({"humidifier"}),
    "set_mode": frozenset({"climate", "fan"}),
    "set_speed": frozenset({"fan"}),
    "change_speed": frozenset({"fan"}),
    "set_volume": frozenset({"media_player"}),
    "change_volume": frozenset({"media_player"}),
    "pause": frozenset({"media_player"}),
    "play": frozenset({"media_player"}),
    "next": frozenset({"media_player"}),
    "previous": frozenset({"media_player"}),
    "start": frozenset({"vacuum", "lawn_mower"}),
    "vacuum_dock": frozenset({"vacuum", "lawn_mower"}),
    "arm_away": frozenset({"alarm_control_panel"}),
    "arm_home": frozenset({"alarm_control_panel"}),
    "arm_night": frozenset({"alarm_control_panel"}),
    "disarm": frozenset({"alarm_control_panel"}),
}
"""What a place alone means: "light up the kitchen", "open the bedroom"."""


def acts_of(wish: Wish, home: Home, where: Where) -> tuple[Act, ...]:
    """The actions of a wish on the devices that it means. Raises `UnclearError` and `NothingError`."""
    wish = _by_degrees(_of_room(wish, home), home, where)
    if (wanted := _VERBS.get(wish.name)) is None:  # half a command: "turn on the lamp and say twenty percent"
        raise NothingError("I do not know what is to be done with that")
    if wish.name == "change_position":  # one that knows no position goes all the way
        wanted = ("set_position", "close" if wish.word == "down" else "open")

    def able(device: Device) -> bool:
        return _verb(device, wanted, wish) is not None

    def alone(device: Device) -> bool:
        return device.domain in _ALONE.get(wish.name, ()) and device.kind not in ("gate", "door")

    resolver = Resolver(home, where, able, wish.name)
    by_action: dict[Action, list[str]] = {}
    for device in resolver.all(wish, alone):
        verb = _verb(device, wanted, wish) or wanted[0]
        if (
            wish.name == "lighten"
            and home.state(device.id).values.get("on")
            and "change_brightness" in device.capabilities
        ):
            verb = "change_brightness"
        by_action.setdefault(_action(verb, wish, device, home), []).append(device.id)
    return tuple(Act(action, tuple(ids)) for action, ids in by_action.items())


def acts_beside(wish: Wish, home: Home, where: Where, beside: str) -> tuple[Act, ...]:
    """What is to be done; of several that fit that one in the room `beside`, of what else is wanted.

    Raises as `acts_of` does.
    """
    try:
        return acts_of(wish, home, where)
    except UnclearError:
        if not beside:
            raise
        with suppress(UnclearError, NothingError):
            return acts_of(wish, home, replace(where, area=beside))
        raise


def room_of(wishes: Sequence[Wish], home: Home) -> str:
    """The one room in which what several wishes name is; "" where there is not exactly one."""
    targets = [target for wish in wishes for target in wish.targets] if len(wishes) > 1 else []
    known = [home.device(target.ids[0]) for target in targets if len(target.ids) == 1]
    rooms = {device.area for device in known if device is not None and device.area}
    rooms |= {area for target in targets for area in target.areas}
    return rooms.pop() if len(rooms) == 1 else ""


def _by_degrees(wish: Wish, home: Home, where: Where) -> Wish:
    """ "Seventy in here" is warmth where the heating counts so; else whoever says it has to say of what."""
    if wish.name != "set_brightness" or wish.word not in ("level", "unclear") or wish.number is None:
        return wish
    warmth = replace(wish, name="set_temperature", word="")
    with suppress(UnclearError, NothingError):
        acts_of(warmth, home, where)
        return warmth
    if wish.word == "unclear":
        raise UnclearError("Do you mean percent, or degrees?")
    return wish


def _of_room(wish: Wish, home: Home) -> Wish:
    """A command to a thermometer is one to the heating of its room: "raise the bedroom temperature to 22"."""
    if len(wish.targets) != 1 or not wish.targets[0].devices or wish.name not in _BY_DEGREES:
        return wish
    named = [device for id_ in wish.targets[0].ids if (device := home.device(id_)) is not None]
    rooms = {device.area for device in named if device.domain == "sensor" and device.kind == "temperature"}
    if len(rooms) != 1 or any(device.capabilities for device in named) or (area := rooms.pop()) is None:
        return wish
    to = wish.number is not None and not wish.name.startswith("change_")
    name = "set_temperature" if to else "change_temperature"
    word = wish.word or ("down" if wish.name == "lower" else "up")
    return replace(wish, name=name, word=word, targets=(Target(noun="climate", areas=(area,), said="heating"),))


_BY_DEGREES = frozenset(
    {"set_position", "set_brightness", "set_temperature", "change_temperature", "raise", "lower"}
)


def _verb(device: Device, wanted: Iterable[str], wish: Wish) -> str | None:
    """The first of the verbs that a device has, as far as the word that was said is one of its own."""
    for verb in wanted:
        if verb not in device.capabilities:
            continue
        if wish.name == "set_mode" and not _knows(device, verb, wish.word):
            continue
        if (
            wish.name == "turn_off"
            and verb in ("stop", "pause")
            and device.domain not in ("vacuum", "lawn_mower", "media_player")
        ):
            continue
        if (
            wish.name == "stop"
            and verb == "turn_off"
            and device.domain not in ("fan", "media_player", "siren", "switch")
        ):
            continue
        if wish.name == "set_brightness" and verb == "set_position" and device.domain not in ("cover", "valve"):
            continue
        return verb
    if wish.name == "turn_off" and device.domain == "climate" and "set_mode" in device.capabilities:
        return "set_mode"
    return (
        "set_mode"
        if wish.name == "turn_on" and device.domain == "climate" and "set_mode" in device.capabilities
        else None
    )


def _knows(device: Device, verb: str, word: str) -> bool:
    if verb == "set_percentage":
        return word in _SPEEDS
    if verb == "set_brightness":
        return word in _LEVELS
    prop = {
        "set_mode": "mode",
        "set_preset": "preset",
        "set_fan_mode": "fan_mode",
        "set_fan_speed": "fan_speed",
    }.get(verb, "value")
    options = device.options.get(prop, ())
    return not options or any(option.lower().replace("_", " ") == word.replace("_", " ") for option in options)


def _action(verb: str, wish: Wish, device: Device, home: Home) -> Action:
    values = home.state(device.id).values
    sign = -1 if wish.word == "down" else 1
    if verb in ("set_temperature", "change_temperature") and wish.number is not None:
        wish = replace(wish, number=_degrees(wish, device))
    build: Callable[[], Action] | None = {
        "set_mode": lambda: Action(verb, _mode(wish, device)),
        "set_color": lambda: Action(verb, color_named(wish.word)),
        "set_color_temp": lambda: Action(verb, _kelvin(wish.number)),
    }.get(verb)
    if build is not None:
        return build()
    if verb in ("change_brightness", "change_temperature"):
        step = _STEP_PERCENT if verb == "change_brightness" else _STEP_DEGREES
        return Action(verb, sign * (wish.number or step))
    if wish.name in _STEPPED and verb.startswith("set_"):
        return Action(verb, _stepped(verb, wish, values, sign))
    if wish.name == "set_mode":
        levels = {"set_percentage": _SPEEDS, "set_brightness": _LEVELS}.get(verb)
        return Action(verb, wish.word if levels is None else levels[wish.word])
    if wish.number is not None and verb.startswith("set_"):
        return Action(verb, wish.number)
    return Action(verb, wish.word) if wish.name in _WORDED else Action(verb)


def _degrees(wish: Wish, device: Device) -> float:
    """The degrees of a wish in the device's own unit, where another was said aloud. Raises `NothingError`."""
    number, unit = float(wish.number or 0), device.unit.lstrip("°")[:1]
    if wish.unit and unit in ("C", "F") and wish.unit != unit:
        to_celsius, by = unit == "C", wish.name.startswith("change_")
        number = (number - (0 if by else 32)) / 1.8 if to_celsius else number * 1.8 + (0 if by else 32)
        number = round(number * 2) / 2  # thermostats go by halves
    least, most = device.least, device.most
    beyond = (least is not None and number < least) or (most is not None and number > most)
    if wish.name == "set_temperature" and beyond:
        raise NothingError(f"{the(device.name)} only goes from {least or 0:g} to {most or 0:g} degrees")
    return number


_WORDED = frozenset({"set_direction", "set_oscillating", "select"})
"""Wishes whose value is a word."""


def _mode(wish: Wish, device: Device) -> str:
    if wish.name == "turn_off":
        return "off"
    if wish.name == "turn_on":
        options = device.options.get("mode", ())
        return next((mode for mode in ("heat", "auto", "cool", "heat_cool") if mode in options), "heat")
    return wish.word


def _kelvin(number: float | None) -> float:
    return float(number or 2700)


def _stepped(verb: str, wish: Wish, values: Mapping[str, object], sign: int) -> float:
    """A value that goes up or down from what it is."""
    prop, step, most = {
        "set_volume": ("volume", _STEP_VOLUME, 100.0),
        "set_percentage": ("percentage", 25, 100.0),
        "set_position": ("position", _STEP_PERCENT, 100.0),
        "set_temperature": ("temperature", _STEP_DEGREES, 35.0),
    }[verb]
    now = values.get(prop)
    if prop == "position" and now is None:
        now = {"open": 100.0, "closed": 0.0}.get(str(values.get("state")))
    start = float(now) if isinstance(now, int | float) else most / 2
    return round(min(most, max(0.0, start + sign * (wish.number or step))), 1)
