"""Which of several devices are called as it was said: "the big light", "the lamp", "the AC". Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from perslm_daemon.home_device import Device
from perslm_daemon.home_words import listed
from perslm_runtime.home_synonyms import plain, same_things
from perslm_runtime.home_wish import Target
from perslm_runtime.time_words import words_of


def is_one_lamp(near: Sequence[Device], target: Target) -> bool:
    """Whether one lamp is meant of several that are called so: "the light" is all of a room, "the lamp" is not."""
    word = target.said.split(" in ")[0].split()[-1:]
    return word == ["lamp"] and not target.many and all("lamp" in device.name.lower() for device in near)


def main_of(found: Sequence[Device], target: Target) -> list[Device]:
    """The light of a room itself: "the big light", and "my light" in somebody's room."""
    said = target.said.split(" in ")[0]
    if target.noun != "light" or target.many:
        return []
    named = said.removeprefix("the ").lower()
    if " " in named and (ends := [one for one in found if one.name.lower().endswith(f" {named}")]):
        return ends if len(ends) == 1 else []  # the "Main Bedroom Light" for "bedroom light"
    if not _MAIN.search(said):  # "the light in Ann's room" is Ann's light, her lamp is another
        own = [one for one in found if (owned := _OWNED.match(one.name)) and (one.area or "").startswith(owned[1])]
        return own if len(own) == 1 and said == "the light" and target.areas else []
    plain = [device for device in found if _PLAIN.match(device.short_name) or _OWNED.match(device.name)]
    return plain if len(plain) == 1 else []


_MAIN = re.compile(r"\b(?:big|main|overhead|top) light$|^my light$")
_PLAIN = re.compile(r"^(?:ceiling |main |big |overhead )?lights?$", re.IGNORECASE)
_OWNED = re.compile(r"^(\w+'s) (?:ceiling |main )?light$", re.IGNORECASE)


def called_so(found: Sequence[Device], target: Target) -> list[Device]:
    """Of one class those whose names have the very word: "the AC" is no radiator, though both heat."""
    head = _PLACED.split(target.said)[0].split()
    if head[-1:] == ["lamps"] and (target.quantity != "all" or target.but):
        return [device for device in found if re.search(r"\blamps?\b", device.name, re.IGNORECASE)]
    hung = target.noun in HUNG and target.quantity != "all"  # "all the curtains" are the drapes too
    several = target.many and not hung and not _OWN_THINGS & {*head[-1:]}
    if not head or several or (target.noun == "light" and head[-1] in _ANY_LIGHT):
        return []
    exactly = target.noun == "light" or target.many
    single = f"{head[-1][:-3]}y" if head[-1].endswith("ies") else head[-1].removesuffix("s")
    several_of = same_things(head[-1]) | same_things(single) if {*head[-1:]} & _OWN_THINGS else {single}
    alike = sorted(several_of) if exactly else sorted(same_things(head[-1]))
    words = "|".join(map(re.escape, alike))
    very = re.compile(rf"\b{re.escape(head[-1].removesuffix('s'))}s?\b", re.IGNORECASE)
    word = re.compile(rf"\b({words})(?:lights?|s)?\b", re.IGNORECASE)
    exact = [one for one in found if very.search(one.name)] if head[-1] not in ("heating", "heat") else []
    return exact or [one for one in found if word.search(one.name)]


def siblings_of(device: Device, pool: Sequence[Device]) -> list[Device]:
    """What is called after the same thing: the "Front Door Sensor" and the "Front Door Lock" of a "Front Door"."""
    thing = _PART_OF.sub("", device.name.lower())
    return [one for one in pool if one.id != device.id and _PART_OF.sub("", one.name.lower()) == thing]


_PLACED = re.compile(r" (?:in|on) | (?:up|down)stairs$| outside$")
_PART_OF = re.compile(r" (?:lock|sensor|contact|contact sensor|switch|motor|opener|state)$")


def called_and_more(said: str, near: Sequence[Device]) -> list[Device]:
    """Devices whose names have every word that was said: the "Office Kettle" for "kettle"."""
    words = {plain(word) for word in words_of(said.lower())}
    named = ((one, {plain(word) for word in words_of(one.name.lower())} | {one.domain}) for one in near)
    return [one for one, own in named if words and words <= own]


def the_room(area: str) -> str:
    """A room in the middle of a sentence: "the kitchen", but "Anna's room"."""
    return area if "'" in area else f"the {area.lower()}"


def place_words(target: Target) -> str:
    """A target's place as it is told: "in this room", "upstairs"."""
    if target.here:
        return "in this room"
    if target.outside:
        return "outside"
    if target.areas:
        return f"in {listed([the_room(area) for area in target.areas])}"
    if target.floors:
        names = listed([floor.lower() for floor in target.floors])
        return names if names in ("upstairs", "downstairs") else f"on the {names}"
    return "that I know"


def without_radios(found: Sequence[Device], target: Target) -> list[Device]:
    """Where a TV was said: nothing that is called a radio or a speaker."""
    head = target.said.lower().split(" in ")[0].split()[-1:]
    watched = [one for one in found if not _HEARD.search(one.name)]
    return watched if head and head[0] in _SEEN and watched else list(found)


def is_another(found: Sequence[Device], target: Target) -> bool:
    """Whether something was said that none of them is: a chandelier, or a TV where there is a radio alone."""
    head = " ".join(target.said.lower().split(" in ")[0].split()[-1:])
    if head.rstrip("s") in _OWN_LIGHTS:
        return not any(head.rstrip("s") in one.name.lower() for one in found)
    return head in _SEEN and bool(found) and all(_HEARD.search(one.name) for one in found)


_SEEN = frozenset({"telly", "tv", "television", "tellies", "tvs", "televisions", "tele"})
_OWN_LIGHTS = frozenset({"chandelier", "lantern", "sconce", "floodlight"})
_HEARD = re.compile(r"\b(?:radio|speaker|stereo|soundbar|record player)s?\b", re.IGNORECASE)
HUNG = frozenset({"curtain", "blind", "shade", "shutter"})
"""What of one class goes by its word in the plural too: "the drapes" are not the bedroom's curtains."""
_OWN_THINGS = frozenset(
    {"spotlights", "spots", "downlights", "lanterns", "sconces", "floodlights", "chandeliers", "leds"}
    | {"speakers", "radios", "tvs", "tellies", "televisions"}
    | {"radiators", "heaters", "conditioners", "cons", "acs"}
)
"""Things that are called so: those of one kind are not every light, player or heating of the room."""
_ANY_LIGHT = frozenset({"light", "lights", "lighting", "illumination"})
