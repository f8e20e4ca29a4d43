"""Says in a sentence what came of a command: by what devices reported, never more than that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from perslm_daemon.home_colors import name_of
from perslm_daemon.home_device import Action, Device, Happened, Outcome, Values
from perslm_daemon.home_entity import plain_name

NOUNS = frozenset(
    (
        *("light", "lights", "lamp", "lamps", "bulb", "spot", "spots", "chandelier", "strip", "switch", "plug"),
        *("socket", "outlet", "fan", "blind", "blinds", "shutter", "shutters", "curtain", "curtains", "cover"),
        *("door", "gate", "window", "lock", "heater", "heating", "thermostat", "radiator", "sensor", "alarm"),
        *(
            "siren",
            "valve",
            "button",
            "scene",
            "vacuum",
            "mower",
            "tv",
            "television",
            "speaker",
            "radio",
            "player",
        ),
        *(
            "kettle",
            "dishwasher",
            "fridge",
            "freezer",
            "toaster",
            "printer",
            "washer",
            "dryer",
            "stereo",
            "fireplace",
        ),
        *("awning", "cooker", "microwave", "projector", "computer", "monitor", "doorbell", "blanket", "aquarium"),
        *("humidifier", "dehumidifier", "group", "hood", "boiler", "pump", "sprinkler", "machine", "oven"),
    )
)
_PLURALS = {"switch": "switches", "media_player": "players", "climate": "thermostats", "binary_sensor": "sensors"}
_WISHES = {
    "turn_on": "turn on",
    "turn_off": "turn off",
    "set_brightness": "change its brightness",
    "change_brightness": "change its brightness",
    "set_color": "change its colour",
    "set_color_temp": "change its colour temperature",
    "set_effect": "show an effect",
    "set_position": "move",
    "set_tilt": "tilt",
    "set_temperature": "change its temperature",
    "change_temperature": "change its temperature",
    "return_to_base": "go home",
}


def the(name: str) -> str:
    """A name in the middle of a sentence: "the kitchen light", but "Anna"."""
    words = name.split()
    if not words:
        return "it"
    if words[0].lower() in ("the", "my", "our"):
        return name
    if words[-1].lower() in NOUNS or len(words) > 1:
        return f"the {' '.join(word if _is_special(word) else word.lower() for word in words)}"
    return name


def _is_special(word: str) -> bool:
    return not re.fullmatch(r"[A-Z]?[a-z'-]+", word)  # TV, 2, LED


def wish(action: Action) -> str:
    """What was wished, after "to": "turn on"."""
    return _WISHES.get(action.verb, action.verb.replace("_", " "))


def state_words(values: Values) -> str:
    """What values say, after the name: "is on at 40 percent"."""
    return _light_words(values) or _word_words(values) or _number_words(values) or "has done it"


def _light_words(values: Values) -> str:
    color, temperature = values.get("color"), values.get("color_temp")
    if isinstance(color, tuple):
        return f"is {name_of((color[0], color[1]))}{_at(values)}"
    if isinstance(temperature, int | float):
        return f"is at {temperature:.0f} kelvin{_at(values).replace(' at', ' and')}"
    if "brightness" in values or "on" in values:
        return f"is on{_at(values)}" if values.get("on", True) else "is off"
    return ""


def _word_words(values: Values) -> str:
    for prop in ("state", "mode", "preset", "fan_mode", "swing_mode", "effect", "fan_speed", "direction"):
        if prop in values:
            words = plain_name(str(values[prop])).replace("_", " ").lower()
            return f"is {words}" if prop == "state" else f"is set to {words}"
    if "oscillating" in values:
        return "is swinging" if values["oscillating"] else "stands still"
    return ""


_UNITS = {
    "temperature": " degrees",
    "temperature_low": " degrees at least",
    "temperature_high": " degrees at most",
    "percentage": " percent",
    "volume": " percent",
    "humidity": " percent",
    "tilt": " percent",
    "value": "",
}


def _number_words(values: Values) -> str:
    position = values.get("position")
    if isinstance(position, int | float):
        return "is open" if position >= 99 else "is closed" if position <= 1 else f"is {position:g} percent open"
    for prop, unit in _UNITS.items():
        if prop in values:
            number = values[prop]
            told = f"{number:g}" if isinstance(number, int | float) else plain_name(str(number))
            return f"is set to {told}{unit}"
    return ""


def _at(values: Values) -> str:
    brightness = values.get("brightness")
    return f" at {brightness:.0f} percent" if isinstance(brightness, int | float) else ""


def sentence(device: Device, happened: Happened, action: Action, values: Values) -> str:
    """What came of it for one device, as a sentence without its full stop."""
    name = the(device.name)
    if happened is Happened.TOLD:
        return _told(name, action)
    if happened is Happened.OFFLINE:
        return f"I have no connection to the broker, so nothing was sent to {name}"
    said = state_words(values)
    predicates = {
        Happened.DONE: said,
        Happened.STARTED: said,
        Happened.ALREADY: said.replace("is ", "is already ", 1),
        Happened.REFUSED: said.replace("is ", "is still ", 1) if values else "did something else",
        Happened.UNAVAILABLE: "is unavailable",
        Happened.FORBIDDEN: "may not be worked from here",
    }
    return f"{name} {predicates.get(happened, 'did not answer')}"


def _told(name: str, action: Action) -> str:
    if action.verb in ("press", "activate"):
        return f"I {'pressed' if action.verb == 'press' else 'started'} {name}, which does not report back"
    return f"I told {name} to {wish(action)}, but it does not report back"


def question(devices: Sequence[Device], action: Action) -> str:
    """What is asked before something risky."""
    names = listed([the(device.name) for device in devices])
    return f"Do you really want to {_done_to(action)} {names}?"


def offer(devices: Sequence[Device], action: Action) -> str:
    """What is asked before something that was only guessed."""
    return f"Shall I {deed(devices, action)}?"


def deed(devices: Sequence[Device], action: Action) -> str:
    """An action on devices after "I will": "turn on the kettle", "set the lamp to 40 percent"."""
    names, value = listed([the(device.name) for device in devices]), action.value
    if isinstance(value, tuple):
        return f"make {names} {name_of((value[0], value[1]))}"
    if isinstance(value, str) and value:
        return f"set {names} to {value.replace('_', ' ')}"
    if isinstance(value, int | float) and (unit := _SET.get(action.verb)) is not None:
        return f"set {names} to {value:g}{unit}"
    if isinstance(value, int | float) and action.verb in _CHANGED:
        return f"{_CHANGED[action.verb][value < 0]} {names}"
    return _DEEDS.get(action.verb, f"{_done_to(action)} {{}}").format(names)


_SET = {
    **dict.fromkeys(
        ("set_brightness", "set_position", "set_percentage", "set_volume", "set_humidity", "set_tilt"), " percent"
    ),
    **dict.fromkeys(("set_temperature", "set_temperature_low", "set_temperature_high"), " degrees"),
    "set_color_temp": " kelvin",
    "set_value": "",
}
_CHANGED = {"change_brightness": ("brighten", "dim"), "change_temperature": ("turn up", "turn down")}
_DEEDS = {
    "return_to_base": "send {} home",
    "clean_spot": "have {} clean where it is",
    "next": "skip to the next on {}",
    "previous": "go back to the previous on {}",
    **dict.fromkeys(("arm_home", "arm_away", "arm_night"), "arm {}"),
}


def _done_to(action: Action) -> str:
    return {"turn_on": "turn on", "turn_off": "turn off"}.get(action.verb, action.verb.replace("_", " "))


def listed(words: Sequence[str], most: int = 5) -> str:
    """Words with commas and an "and"; beyond `most` only how many more there are."""
    shown = list(words[:most])
    if len(words) > most:
        shown.append(f"{len(words) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def summary(outcomes: Sequence[Outcome], domains: Sequence[str] = ()) -> str:
    """What came of an action on several devices, in one sentence: how many are as wished, and who is not."""
    if not outcomes:
        return "There is nothing to do"
    if len(outcomes) == 1:
        return outcomes[0].sentence
    good = [one for one in outcomes if one.happened.good]
    bad = [one for one in outcomes if not one.happened.good]
    kinds = Counter(domains)
    noun = _plural(next(iter(kinds))) if len(kinds) == 1 else "devices"
    parts = []
    if good:
        states = Counter(state_words(one.values) for one in good)
        said = states.most_common(1)[0][0] if len(states) == 1 else "has done it"
        said = said if len(good) == 1 else _are(said)
        parts.append(f"{len(good)} {noun} {said}" if not bad else f"{len(good)} of {len(outcomes)} {noun} {said}")
    grouped: dict[str, list[str]] = {}
    for one in bad:
        grouped.setdefault(_predicate(one), []).append(the(one.name))
    parts += [_many(names, said) for said, names in grouped.items()]
    return "; ".join(parts)


def _plural(domain: str) -> str:
    return _PLURALS.get(domain, f"{domain.replace('_', ' ')}s")


def _are(said: str) -> str:
    return re.sub(r"^has ", "have ", re.sub(r"^is ", "are ", said))


def _predicate(one: Outcome) -> str:
    name = the(one.name)
    return one.sentence.removeprefix(f"{name} ") if one.sentence.startswith(f"{name} ") else ""


def _many(names: Sequence[str], said: str) -> str:
    if not said:
        return f"I do not know what became of {listed(names)}"
    return f"{listed(names)} {said if len(names) == 1 else _are(said)}"
