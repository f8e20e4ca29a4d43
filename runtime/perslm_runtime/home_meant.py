"""From a sentence that fits to the wish that is meant: slots become targets and values.

Pure. Knows the marks that home_chunks.py put into the sentence, and no sentence of the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from perslm_runtime.home_chunks import Chunked
from perslm_runtime.home_wish import Target, Wish
from perslm_runtime.intents import Matched

_COVERS = frozenset(
    ("blind", "shutter", "curtain", "shade", "awning", "cover", "garage", "gate", "window", "valve")
)


def wish_of(found: Matched, chunked: Chunked) -> Wish | None:
    """A match as a wish."""
    targets: list[Target] = []
    number, word, place = found.slots.get("number"), str(found.slots.get("word", "")), None
    for name, value, said in found.entities:
        match name:
            case "t" | "room":
                targets += value if isinstance(value, tuple) else [value]
            case "it":
                targets.append(value)
            case "p":
                place = value
            case "n" | "pct" | "deg" | "kel" | "k":
                number = value
            case "c" | "s" | "m":
                word = value
            case "what":
                if not (word := _as_said(said, chunked)):
                    return None
    name = found.intent
    if name in ("start", "stop", "pause") and word and not targets:
        targets = [Target(noun=word, said=word.replace("_", " "))]
    if name in ("raise", "lower") and any(kind == "deg" for kind, _, _ in found.entities):
        name = "change_temperature"
    if name == "set_brightness" and _is_warmth(targets, number, found, chunked):
        name = "set_temperature"
    wish = Wish(name, tuple(targets), number, word, place)
    return meant(wish, chunked.words, chunked)


def meant(wish: Wish, words: Sequence[str], chunked: Chunked) -> Wish:
    """A wish as it is meant where its words say something else than they seem to."""
    any_first = bool(wish.targets) and wish.targets[0].quantity == "any" and words[0] in chunked.targets
    if wish.name in _ASKED and any_first:  # "any lights on": nobody wants just any on
        return replace(wish, name="is_state", word=_ASKED[wish.name])
    if len(wish.targets) > 1 and any(target.devices for target in wish.targets):  # "the song on the speaker"
        wish = replace(wish, targets=tuple(one for one in wish.targets if one.devices or one.said not in _PLAYED))
    wish = replace(wish, unit=chunked.unit) if chunked.unit and wish.name in _BY_DEGREES else wish
    return _by_its_words(wish, {*words}, chunked)


def _by_its_words(wish: Wish, said: set[str], chunked: Chunked) -> Wish:
    """A wish by the words around what it names: "no light", "up by ten percent", "the kitchen is too dark"."""
    word = "up" if said & _UP else "down" if said & _DOWN else ""
    name, by = wish.name, word and "by" in said
    if (other := _of_covers(wish, said, word, chunked) or _of_rooms(wish, said, chunked)) is not None:
        return other
    match wish.name:
        case "fragment" if wish.targets and all(
            one.quantity == "no" and one.noun == "light" for one in wish.targets
        ):
            return replace(wish, name="turn_off")
        case "set_position" | "set_brightness" if by and _lights(wish, chunked):
            return replace(wish, name="change_brightness", word=word)
        case "change_position" if _lights(wish, chunked):
            name = "change_brightness"
        case "change_brightness" if wish.word == "up" and "is" in said and said & _TOO_DARK and _rooms(wish):
            name = "lighten"
        case "vacuum_dock" if _of_domain(wish, chunked, "cover"):
            name = "close"  # "bring the awning in"
        case "turn_off" if said & {"set", "get", "send"} and _of_domain(wish, chunked, "vacuum"):
            name = "start"  # "set Rosie off"
        case "change_temperature" if _of_domain(wish, chunked, "switch"):  # "warm the towel rail up"
            name = "turn_off" if wish.word == "down" else "turn_on"
        case "start" if _of_domain(wish, chunked, "vacuum"):  # "Robbie, clean the kitchen": it knows no rooms
            bare = tuple(Target(devices=one.devices, said=one.said) for one in wish.targets)
            return replace(wish, targets=bare, place=None)
        case "set_temperature" if wish.number is not None and abs(wish.number) <= _MOST_STEPS:
            if word and not said & {"to", "at", "on"}:
                return replace(wish, name="change_temperature", word=word)  # "down two degrees"
    return replace(wish, name=name)


def _of_covers(wish: Wish, said: set[str], word: str, chunked: Chunked) -> Wish | None:
    """A wish as it is meant of covers: "lower the blind by twenty percent", "the blinds down a bit"."""
    if not word or not _covers(wish, chunked):
        return None
    match wish.name:
        case "raise" | "lower" if wish.number is None:
            return replace(wish, name="change_position") if said & _LITTLE else None
        case "raise" | "lower" | "change_brightness" | "set_position" if wish.number is not None:
            return replace(wish, name="change_position" if "by" in said else "set_position", word=word)
    return None


def _of_rooms(wish: Wish, said: set[str], chunked: Chunked) -> Wish | None:
    """A wish as it is meant of rooms: "play something" here, "nineteen in the kitchen"."""
    match wish.name:
        case "play" if any(one.every and one.quantity == "any" for one in wish.targets):
            return replace(wish, targets=(Target(noun="media_player", here=True, said="music"),), hint=True)
        case "set_brightness" if wish.number is not None and _is_bare(wish, said, chunked):
            warm = _MILD[0] <= wish.number <= _MILD[1]
            return replace(
                wish, name="set_temperature" if warm else wish.name, word="" if warm else _how_sure(said)
            )
    return None


def _how_sure(said: set[str]) -> str:
    """Whether a bare number of a room is one of its lamps ("set the hall to sixty"), or nobody can tell."""
    return "level" if said & _SET else "unclear"


def _lights(wish: Wish, chunked: Chunked) -> bool:
    named = bool(wish.targets) and all(one.devices or one.noun == "light" for one in wish.targets)
    return named and all(chunked.domains.get(id_) == "light" for one in wish.targets for id_ in one.ids)


def _of_domain(wish: Wish, chunked: Chunked, domain: str) -> bool:
    named = bool(wish.targets) and all(one.ids for one in wish.targets)
    return named and all(chunked.domains.get(id_) == domain for one in wish.targets for id_ in one.ids)


def _covers(wish: Wish, chunked: Chunked) -> bool:
    kinds = (
        one.noun in _COVERS - {"valve"} or {*map(chunked.domains.get, one.ids)} == {"cover"}
        for one in wish.targets
    )
    return bool(wish.targets) and all(kinds)


def _is_bare(wish: Wish, said: set[str], chunked: Chunked) -> bool:
    """Whether rooms and nothing else are to be at a number of no unit: "nineteen and a half in the kitchen"."""
    plain = any(wish.number == value for value in chunked.values.get("n", {}).values())
    rooms = bool(wish.targets) and all(one.is_place or (one.it and bool(chunked.places)) for one in wish.targets)
    return plain and rooms and not said & (_DIMS | _LIT)


def _rooms(wish: Wish) -> bool:
    return all(one.is_place for one in wish.targets)


_PLAYED = frozenset(f"{article}{word}" for article in ("", "the ", "this ") for word in ("song", "track", "music"))
_TOO_DARK = frozenset(("dark", "dim"))
_MOST_STEPS = 6  # degrees: nobody heats a room to five
_UP = frozenset(("up", "raise", "open", "increase", "bump", "warmer", "higher"))
_DOWN = frozenset(("down", "lower", "close", "shut", "decrease", "reduce", "drop", "knock", "cooler"))
_ASKED = {"turn_on": "on", "turn_off": "off", "open": "open", "close": "closed"}
_BY_DEGREES = frozenset(("set_temperature", "change_temperature"))
_SET = frozenset(("set", "put", "turn", "bring", "take", "get", "move", "change", "adjust", "to", "at"))
_MILD = (14, 28)  # degrees
_LIT = frozenset(("light", "lights", "bright", "brighter", "dimmer", "lamp", "lamps"))
_LITTLE = frozenset(("bit", "little", "touch", "notch", "tad", "slightly", "smidge", "some"))
_DIMS = frozenset(("dim", "brighten", "fade", "brightness"))


def _is_warmth(targets: Sequence[Target], number: object, found: Matched, chunked: Chunked) -> bool:
    """Whether a room is to be at a bare number that is one of degrees: "keep the bedroom at 18"."""
    bare = (
        isinstance(number, int | float)
        and 14 <= number <= 28
        and any(kind == "n" for kind, _, _ in found.entities)
    )
    rooms = bool(targets) and all(target.is_place for target in targets)
    return bare and rooms and not _DIMS & {*chunked.words}


def _as_said(text: str, chunked: Chunked) -> str:
    """Free words as they were said; "" where they hold a number or a place that is no word any more."""
    said = [
        chunked.targets[word][0].said if word in chunked.targets and len(chunked.targets[word]) == 1 else word
        for word in text.split()
    ]
    return "" if any(re.fullmatch(r"x[a-z]+\d+x", word) for word in said) else " ".join(said)


def sensible(wish: Wish, domains: Mapping[str, str]) -> bool:
    """Whether a match can be meant: a volume has its player, and who "needs a lamp" may want to buy one."""
    targets, fits = wish.targets, True
    match wish.name:
        case "set_volume" | "change_volume":
            fits = bool(targets)
        case "arm_home" | "arm_away" | "arm_night" | "disarm":
            fits = all(_is_alarm(target, domains) for target in targets)
        case "is_state" if wish.word == "armed":
            fits = all(_is_alarm(target, domains) for target in targets)
        case "vacuum_locate":
            fits = wish.place is None and not any(target.placed for target in targets)
        case "change_position":
            fits = all(target.noun in _COVERS or target.devices for target in targets)
        case "name" | "move_room" | "hide":
            fits = bool(targets) and not targets[0].is_place
        case "turn_on" if wish.word == "light":
            bought = ("a ", "an ", "another ", "new ")  # "we should get a light for the hall"
            fits = all("light" in one.said and not one.said.startswith(bought) for one in targets)
        case "set_mode":
            fits = not any(_is_alarm(target, domains) for target in targets)
        case "change_brightness":
            fits = all(target.noun == "light" for target in targets if target.said in ("light", "lights"))
        case "value_of":
            fits = len(targets) == 1 and len(targets[0].devices) == 1 and not targets[0].guessed
    return fits


def _is_alarm(target: Target, domains: Mapping[str, str]) -> bool:
    panels = bool(target.ids) and all(domains.get(id_) == "alarm_control_panel" for id_ in target.ids)
    return panels or target.noun == "alarm" or "alarm" in target.said


def but_kept(left: Wish, words: Sequence[str], rest: Sequence[Wish]) -> tuple[Wish, ...] | None:
    """ "All lights off but leave the lamp on": the first wish without what is to be kept; None for any other."""
    if words[:1] not in (["leave"], ["keep"]) or rest[0].name != _OPPOSITE.get(left.name) or not left.targets:
        return None
    last = left.targets[-1]
    if not (last.many or last.every or last.is_place):
        return None
    kept = replace(last, but=(*last.but, *rest[0].targets), many=True)
    return (replace(left, targets=(*left.targets[:-1], kept)), *rest[1:])


_OPPOSITE = {"turn_off": "turn_on", "turn_on": "turn_off", "close": "open", "open": "close", "lock": "unlock"}
