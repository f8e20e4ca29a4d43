"""Home Assistant's own sentences about the home, in every language that they come in, as wishes.

The lists of names, rooms and floors hold only what occurs in the sentence: with all 400 of a house, one that does
not fit takes ten times as long. Which language has which sentences is its translators' work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perslm_runtime.home_names import Kind, NameBook
from perslm_runtime.home_wish import Target, Wish
from perslm_runtime.intents import StockSentences
from perslm_runtime.time_words import words_of
from perslm_runtime.tongues import tongue

WISHES = {
    "HassTurnOn": "turn_on",
    "HassTurnOff": "turn_off",
    "HassToggle": "toggle",
    "HassLightSet": "set_brightness",
    "HassSetPosition": "set_position",
    "HassClimateSetTemperature": "set_temperature",
    "HassClimateGetTemperature": "temperature",
    "HassClimateSetFanMode": "set_mode",
    "HassFanSetSpeed": "set_speed",
    "HassGetState": "is_state",
    "HassMediaNext": "next",
    "HassMediaPrevious": "previous",
    "HassMediaPause": "pause",
    "HassMediaUnpause": "play",
    "HassVacuumStart": "start",
    "HassVacuumReturnToBase": "vacuum_dock",
    "HassLawnMowerStartMowing": "start",
    "HassLawnMowerDock": "vacuum_dock",
    "HassSetVolume": "set_volume",
}
_MOST_MATCHES = 50
_STATES = {
    "on": "on",
    "off": "off",
    "open": "open",
    "closed": "closed",
    "locked": "locked",
    "unlocked": "unlocked",
}
_LOCKS = {"turn_on": "lock", "turn_off": "unlock"}
_COVERS = {"turn_on": "open", "turn_off": "close"}
DOMAINS = (
    "light",
    "switch",
    "fan",
    "cover",
    "lock",
    "media_player",
    "climate",
    "scene",
    "valve",
    "vacuum",
    "lawn_mower",
    "sensor",
    "binary_sensor",
    "button",
    "siren",
)


class StockHome:
    """Home Assistant's sentences in one language; made on first use (75 ms, 2.5 MB in English)."""

    def __init__(self, language: str) -> None:
        self._language, self._tongue = language, tongue(language)
        self._sentences: StockSentences | None = None

    def recognize(self, text: str, book: NameBook) -> tuple[Wish, ...]:
        """The wish of the first sentence that fits; () for none. Yes, no and undo by their words (tongues.py)."""
        if self._tongue is not None and (bare := self._tongue.answers.get(" ".join(words_of(text.lower())))):
            return (Wish(bare),)
        if self._sentences is None:
            self._sentences = StockSentences(self._language, tuple(WISHES))
        first: Wish | None = None
        lists = _lists(text, book)
        own = {
            name: tuple(dict.fromkeys(book.domains[id_] for id_ in ids if id_ in book.domains))
            for name, ids in lists["name"].items()
        }
        for number, found in enumerate(self._sentences.match(text, lists, DOMAINS, own)):
            wish = _wish(found.intent, found.values, found.template)
            if wish is not None and any(target.devices for target in wish.targets):
                return (wish,)  # a thing that is called so, before any of a class
            first = first or wish
            if first is not None and number >= _MOST_MATCHES:
                break
        return () if first is None else (first,)


def _lists(text: str, book: NameBook) -> dict[str, Mapping[str, Any]]:
    """The names that occur in the sentence, by list; each with the ids it stands for."""
    words = [word.lower() for word in words_of(text)]
    found: dict[Kind, dict[str, tuple[str, ...]]] = {kind: {} for kind in Kind}
    for at in range(len(words)):
        for hit in book.find(words, at):
            found[hit.kind][" ".join(words[at : hit.end])] = hit.ids
    return {"name": found[Kind.DEVICE], "area": found[Kind.AREA], "floor": found[Kind.FLOOR]}


def _wish(intent: str, values: Mapping[str, Any], template: str) -> Wish | None:
    name = WISHES[intent]
    domain = str(values.get("domain", ""))
    kind = str(values.get("device_class", ""))
    if name in ("turn_on", "turn_off"):
        other: Mapping[str, Mapping[str, str]] = {"lock": _LOCKS, "cover": _COVERS, "valve": _COVERS}
        name = (other.get(template) or other.get(domain) or {}).get(name, name)
    number, word = None, ""
    for key in ("brightness", "position", "temperature", "percentage", "volume_level"):
        if isinstance(values.get(key), int | float):
            number = values[key]
    if intent == "HassLightSet":
        if "color" in values:
            name, word = "set_color", str(values["color"])
        elif "temperature" in values:
            name = "set_color_temp"
    if name == "is_state":
        word = _STATES.get(str(values.get("state", "")), "")
        if not word:
            return None
        name = {"which": "which", "how_many": "how_many"}.get(template, name)
        if domain == "binary_sensor" and kind in ("window", "door", "opening", "garage_door"):
            word = {"on": "open", "off": "closed"}.get(word, word)
    target = _target(values, domain, kind, name, template)
    said = (target,) if target is not None else ()
    return Wish(name, said, number, word, reply=(intent, template))


def _target(values: Mapping[str, Any], domain: str, kind: str, name: str, template: str) -> Target | None:
    areas = tuple(values["area"]) if isinstance(values.get("area"), tuple) else ()
    floors = tuple(values["floor"]) if isinstance(values.get("floor"), tuple) else ()
    if isinstance(values.get("name"), tuple):
        return Target(devices=(values["name"],), areas=areas, floors=floors)
    noun = _noun(domain, kind)
    quantity = {"any": "any", "all": "all"}.get(template, "")
    if noun:
        everywhere = template in ("light_all", "which", "how_many", "any", "all") and not areas and not floors
        return Target(noun=noun, many=True, areas=areas, floors=floors, quantity=quantity, anywhere=everywhere)
    return Target(areas=areas, floors=floors) if areas or floors else None


def _noun(domain: str, kind: str) -> str:
    if domain in ("cover", "binary_sensor"):
        return {"garage_door": "garage"}.get(kind, kind) or "cover"
    return domain
