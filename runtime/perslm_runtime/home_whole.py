"""What makes a wish a whole one: something it is about, told elsewhere in the sentence if need be.

"The lamp has been on all day, kill it" is of the lamp; "it's empty in the study, turn the lights off in there" is
of the study's lights. Pure; knows no device but by its id and domain.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from perslm_runtime.home_chunks import Chunked
from perslm_runtime.home_corrections import corrected
from perslm_runtime.home_wish import Target, Wish

_NO_WHOLE = frozenset(
    ("fragment", "name", "move_room", "hide", "scene", "value_of", "list", "pct_only", "do_again")
)
_HOW = re.compile(
    r"^(?:how (?:cold|warm|hot|much|many|loud|bright|far|is|are|long)|which|what (?:is|are|was|temperature))\b"
)
_PAST = re.compile(r"\bdid (?!you\b)\w+ (?:lock|unlock|open|close|shut|turn|switch|leave)\b")
TELLING = frozenset(
    (
        *("fragment", "name", "move_room", "scene", "value_of", "is_state", "which", "how_many", "state_of"),
        *("list", "temperature", "humidity", "illuminance", "setpoint", "brightness_of", "volume_of", "color_of"),
        *("position_of", "battery_of", "power_of"),
    )
)
"""Wishes that do nothing by themselves: what is asked, or only named."""
_SCENES = frozenset(("scene", "script"))
_OF_HERE = frozenset(("next", "previous", "pause", "play", "lock"))
_SENSED_HERE = frozenset(("temperature", "humidity"))
_COMPLAINED = ("change_", "set_temperature")
_MEASURED = frozenset(("temperature", "humidity", "setpoint", "illuminance"))
_PLAYED = frozenset(("pause", "play", "stop", "next", "previous"))
_OPENED = frozenset(("raise", "open", "start", "play"))


def is_question(spoken: str) -> bool:
    """Whether it asks how things are, or what somebody did: then it works nothing."""
    return bool(_HOW.search(spoken) or _PAST.search(spoken))


def is_whole(wish: Wish) -> bool:
    """Whether it is a command or a question by itself, and of something."""
    return (bool(wish.targets) or wish.place is not None) and wish.name not in _NO_WHOLE


def is_alone(wish: Wish) -> bool:
    """Whether it is one by itself, or of what plays here, or of the house: "next song", "lock up"."""
    return is_whole(wish) or (wish.name in _OF_HERE | _SENSED_HERE and not wish.hint)


def is_scene(wish: Wish, domains: Mapping[str, str]) -> bool:
    """Whether nothing but a scene was named: "movie time"."""
    ids = [id_ for target in wish.targets for id_ in target.ids]
    return wish.name in ("fragment", "scene") and len(ids) == 1 and domains.get(ids[0]) == "scene"


def is_command(wish: Wish, domains: Mapping[str, str]) -> bool:
    """Whether it works something that was named, or is a scene."""
    return bool(wish.targets and wish.name not in TELLING and not wish.hint) or is_scene(wish, domains)


def is_named(wish: Wish) -> bool:
    """Whether a thing is given a name: "call my rocket Zoom"."""
    return wish.name == "name" and bool(wish.word) and any(target.ids for target in wish.targets)


def is_of_scene(wish: Wish, domains: Mapping[str, str]) -> bool:
    """Whether a number is wanted of what has none: a scene."""
    ids = [id_ for target in wish.targets for id_ in target.ids]
    return wish.number is not None and bool(ids) and all(domains.get(id_) in _SCENES for id_ in ids)


def is_having(wish: Wish) -> bool:
    """Whether "have the lights" only begins what is wanted of them: a scene has a name of its own."""
    return wish.name == "scene" and not any(target.ids for target in wish.targets)


def set_up(wish: Wish, domains: Mapping[str, str]) -> Wish:
    """A scene is only ever activated: "set up the dinner party", "open movie night"."""
    ids = [id_ for target in wish.targets for id_ in target.ids]
    scenes = bool(ids) and all(domains.get(id_) in _SCENES for id_ in ids)
    return replace(wish, name="turn_on") if scenes and wish.name in _OPENED else wish


def is_open(found: tuple[Wish, ...]) -> bool:
    """Whether something is wanted of "it", or of a class of things without a place."""
    return any(
        not wish.targets and wish.name in _PLAYED | _MEASURED and wish.place is None for wish in found
    ) or any(
        (target.it or target.noun or _is_it_all(target)) and not (target.ids or target.placed)
        for wish in found
        for target in wish.targets
    )


def _is_it_all(target: Target) -> bool:
    return target.every and target.said.startswith("it ")


def _all_there(wish: Wish, where: Target) -> Wish:
    """ "Everything is on in the bar, turn it all off": all that is there."""
    said = wish.targets and all(_is_it_all(target) and not target.placed for target in wish.targets)
    there = (replace(one, areas=where.areas, floors=where.floors) for one in wish.targets)
    return replace(wish, targets=tuple(there)) if said else wish


_BESIDE = frozenset(("to", "on", "in", "at", "one", "it", "that", "make", "percent", "degrees"))


def after_all(
    before: Wish,
    whole: Sequence[Wish],
    words: Sequence[str],
    told: Chunked,
    colors: Mapping[str, str],
    fillers: Container[str],
) -> Wish | None:
    """What is wanted in place of a wish, where somebody takes back a part of it; None where it is not understood.

    `words` and `told` are what was said instead, `whole` the wishes of it where it is a sentence by itself.
    """
    named = [target for targets in told.targets.values() for target in targets]
    values = [value for one in told.values.values() for value in one.values()]
    color = next((colors[word] for word in words if word in colors), "")
    marks = {*told.targets, *told.places, *(mark for one in told.values.values() for mark in one)}
    rest = {word for word in told.words if word not in marks and word not in fillers and word != color}
    if not named and told.places and not before.place and all(one.is_place for one in before.targets):
        named = list(told.places.values())
    wish = corrected(before, whole, named, values[0] if len(values) == 1 else None, color, " ".join(words))
    known = bool(whole) or not rest - _BESIDE or (wish is not None and wish.name != before.name)
    return wish if known else None


def completed(found: tuple[Wish, ...], told: Chunked) -> tuple[Wish, ...]:
    """Wishes that are open (`is_open`) with the one thing or place that the whole sentence, `told`, names."""
    bare = [target for wish in found for target in wish.targets if not (target.ids or target.placed)]
    every = [target for targets in told.targets.values() for target in targets]
    named = {target.ids: target for target in every if target.ids}
    classes = {target.noun: target for target in every if target.noun and not target.ids}
    about = [*named.values()] or [*classes.values()]  # "the vacuum's making a racket, pause it"
    if len(about) == 1 and any(not wish.targets and wish.name in _PLAYED for wish in found) and "it" in told.words:
        return tuple(replace(one, targets=(*about,)) if not one.targets else one for one in found)
    bare_at = [at for at, word in enumerate(told.words) if word in told.targets]
    own = {area for wish in found for target in wish.targets for area in (*target.areas, *target.floors)}
    said = [
        one
        for one in (*told.places.values(), *_told_first(told, bare_at))
        if not own & {*one.areas, *one.floors}  # "is the garage closed and are the doors locked"
    ]
    places = {(*one.areas, *one.floors): one for one in said if one.areas or one.floors}
    if len(places) == 1:
        found = tuple(_all_there(one, next(iter(places.values()))) for one in found)
    if any(target.it for target in bare) and len(about) == 1:
        if not about[0].ids and len(places) == 1:  # "nobody's in the kitchen, no need for lights, turn them off"
            about = [_put(about[0], next(iter(places.values())), "")]
        return tuple(replace(one, targets=(*about,)) if any(t.it for t in one.targets) else one for one in found)
    if named or len(places) != 1 or any(wish.place is not None for wish in found):
        return found
    if len(found) == 1 and found[0].name in _MEASURED and not found[0].targets:
        return (
            replace(found[0], place=next(iter(places.values()))),
        )  # "is it steamy in there, what's the humidity"
    (where,) = places.values()
    if where.floors and "there" not in told.words and not all(one.name.startswith(_COMPLAINED) for one in found):
        return found  # "the kids are upstairs, so turn off the speaker" is of the speaker here
    return tuple(replace(one, targets=tuple(_put(t, where, one.name) for t in one.targets)) for one in found)


def _told_first(told: Chunked, at: Sequence[int]) -> list[Target]:
    """The rooms that are named alone before anything else is: of "pause the mower, the kids are out" none."""
    first = [target for target in told.targets[told.words[at[0]]] if target.is_place] if at else []
    return first if len(at) > 1 or "there" in told.words else []


def valued_alike(
    left: Wish, right: Wish, said: Sequence[str], verbs: frozenset[str], domains: Mapping[str, str]
) -> Wish:
    """The second of two values without a verb: "18 in the hall and 21 in the study" sets both temperatures."""
    warm = left.name == "set_temperature" or (left.name == "set_brightness" and _heats(left, domains))
    if not (warm and right.name == "set_brightness") or verbs & {*said} or "percent" in said:
        return right
    return replace(right, name="set_temperature", targets=tuple(_put_in(one) for one in right.targets))


def _heats(wish: Wish, domains: Mapping[str, str]) -> bool:
    """Whether what is set is heating: "downstairs thermostat to 69"."""
    return bool(wish.targets) and all(
        target.noun == "climate" or (target.ids and all(domains.get(id_) == "climate" for id_ in target.ids))
        for target in wish.targets
    )


def with_percent(left: Wish, percent: Wish) -> Wish | None:
    """A wish with the percentage that was said behind it; None where it has none."""
    name = _PERCENT.get(left.name, left.name if left.name.startswith("set_") and left.number is not None else "")
    return replace(left, name=name, number=percent.number, word="") if name else None


_PERCENT = {
    "open": "set_position",
    "close": "set_position",
    "raise": "set_position",
    "lower": "set_position",
    "turn_on": "set_brightness",
    "change_brightness": "set_brightness",
    "change_position": "set_position",
    "change_volume": "set_volume",
    "change_speed": "set_speed",
}


def said_once(wishes: Iterable[Wish]) -> tuple[Wish, ...]:
    """Wishes without one that the next says more exactly of the same: "put some heat on, set it to 18"."""
    found: list[Wish] = []
    for wish in wishes:
        if found and _is_twice(found[-1], wish):
            continue
        exactly = _said_of(found[-1], wish) if found else None
        found[len(found) - (exactly is not None) :] = [exactly or wish]
    return tuple(found)


def _is_twice(before: Wish, wish: Wish) -> bool:
    """ "Everything off in the bar, turn it all off"."""
    every = all(target.every for target in before.targets) and wish.name == before.name
    return every and bool(wish.targets) and all(map(_is_it_all, wish.targets))


def _said_of(before: Wish, wish: Wish) -> Wish | None:
    """The second wish as it says the first more exactly; None where it wants something else."""
    twice = wish.name == before.name and wish.name.startswith("change_") and before.number is None
    if twice and wish.number is not None and _of_it(wish):  # "the snug's too hot, take it down two degrees"
        return replace(wish, targets=before.targets, place=before.place)
    if _is_vague(before) and not _of_it(wish) and wish.targets and wish.name in _SAYS_IT.get(before.name, ()):
        return wish  # "I'd like it a bit darker, please dim Georgia's lamp"
    if wish.name not in (alike := _EXACTLY.get(before.name, ())):
        return None
    if (
        before.name == "lighten"
    ):  # "the kitchen is too dim, make the lights brighter in there", or "brighten it up"
        return replace(wish, targets=before.targets, place=before.place) if _of_it(wish) else wish
    if wish.targets == before.targets or _of_it(wish):
        return replace(wish, name=alike[0], targets=before.targets, place=before.place)
    return None


def _of_it(wish: Wish) -> bool:
    return bool(wish.targets) and all(target.it for target in wish.targets)


def _is_vague(wish: Wish) -> bool:
    return wish.number is None and all(target.it and not target.noun for target in wish.targets)


_SAYS_IT = {
    "change_brightness": ("set_brightness", "change_brightness", "turn_off", "turn_on"),
    "change_volume": ("set_volume", "change_volume", "mute", "pause", "stop", "turn_off"),
    "change_temperature": ("set_temperature", "change_temperature", "set_brightness", "turn_off", "turn_on"),
}
"""What says of a thing that is named how "darker", "quieter" and "warmer" are meant."""

_EXACTLY = {
    "lighten": ("change_brightness", "set_brightness", "turn_on"),
    "change_temperature": ("set_temperature", "set_brightness"),
    "change_brightness": ("set_brightness",),
    "change_volume": ("set_volume",),
    "change_speed": ("set_speed",),
}


def _put_in(target: Target) -> Target:
    return replace(target, noun="climate", said="heating") if target.is_place else target


def _put(target: Target, where: Target, wish: str) -> Target:
    """A class of things, or "it" where a room is made warmer or cooler, in a place that was told before."""
    if target.ids or target.placed or target.every:
        return target
    if target.noun:
        return replace(target, areas=where.areas, floors=where.floors)
    warmth = target.it and wish in ("change_temperature", "set_temperature")
    return replace(where, noun="climate", said="heating") if warmth else target
