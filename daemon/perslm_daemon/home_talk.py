"""What a conversation about the home goes on with: "it", "and the bedroom too", "the second one", a yes.

Wishes that mean something only after others become whole ones here, or nothing where nothing came before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from perslm_daemon.home import Home
from perslm_daemon.home_acts import acts_of
from perslm_daemon.home_resolve import NothingError, UnclearError, Where
from perslm_daemon.schedule_file import Errand
from perslm_runtime.home_later import Later
from perslm_runtime.home_wish import Target, Wish

SPOKEN_OF_S = 120.0
"""How long "it" and "the bedroom too" go on with what was said before."""

_GOES_ON = re.compile(
    r"\b(and|too|also|as well|what about|how about|same|instead|i meant|i mean|no)\b", re.IGNORECASE
)
_LIGHTS = re.compile(r"^\W*(the )?lights?\b", re.IGNORECASE)
_DIM = re.compile(r"\b(?:dim|brighten)\b", re.IGNORECASE)
_HEARD = re.compile(
    r"\b(?:hear|loud|noisy|noise|music|song|racket|phone|telephone|calls?|asleep|sleeping|nap|headache|concentrate|meeting|zoom)\b",
    re.IGNORECASE,
)
_PLEASE = re.compile(r"\bplease\W*$", re.IGNORECASE)
_ROOM_WISHES = frozenset(
    {"change_temperature", "change_brightness", "set_temperature", "set_color", "set_color_temp", "change_volume"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A command for another time that waits for a yes: what it does in words, and what is kept of it."""

    later: Later
    does: str
    errand: Errand
    until_s: float


@dataclass(slots=True)
class Talk:
    """One conversation: the devices spoken of last, the last wish, and what waits for an answer.

    `pending` is the id of the home's question for a yes, `choice` a wish with the devices that it may mean, `plan`
    what is planned once somebody says yes.
    """

    at: float = 0.0
    it: tuple[str, ...] = ()
    last: Wish | None = None
    pending: str | None = None
    choice: tuple[Wish, tuple[tuple[str, ...], ...]] | None = None
    plan: Plan | None = None

    @property
    def fresh(self) -> bool:
        """Whether it was not long ago."""
        return time.monotonic() - self.at < SPOKEN_OF_S


def going_on(wishes: Sequence[Wish], text: str, talk: Talk, home: Home) -> Sequence[Wish]:
    """The wishes, those that go on with the talk made whole; () where nothing came before."""
    if not wishes:
        return ()
    first, rest = wishes[0], wishes[1:]
    match first.name:
        case "yes" | "no":
            return wishes[:1] if talk.pending is not None and home.pending is not None else ()
        case "choose":
            made = _chosen(first, talk, text)
        case "value_of" | "fragment" if _is(first, home, "sensor"):
            made = replace(first, name="value_of")
        case "value_of":
            made = None
        case "scene" | "fragment" if _is(first, home, "scene"):
            made = replace(first, name="activate")
        case "scene":
            made = None
        case "fragment" | "do_again":
            made = _fragment(first, text, talk, home)
        case "pct_only":
            spoken_of = bool(talk.it) and talk.fresh
            lit = Wish("set_brightness", (), first.number) if "bright" in text.lower() else None  # of this room
            made = Wish("set_brightness", (Target(it=True),), first.number) if spoken_of else lit
        case _:
            made = _of_it(first, text, talk, home)
    return () if made is None else (made, *(_set_up(one, made, talk, home) for one in rest))


def _set_up(wish: Wish, first: Wish, talk: Talk, home: Home) -> Wish:
    """A scene behind a command ("... and do movie night"), and "the same" somewhere else."""
    if wish.name == "do_again" and first.targets:
        return _again(wish, replace(talk, last=first), home)
    named = wish.name in ("scene", "fragment") and _is(wish, home, "scene")
    return replace(wish, name="activate") if named else wish


def _fragment(first: Wish, text: str, talk: Talk, home: Home) -> Wish | None:
    """What is named alone: one of what was asked about, or one more of the same."""
    if talk.choice is not None and talk.fresh and (picked := _picked(first, talk)) is not None:
        return picked
    goes_on = first.name == "do_again" or _GOES_ON.search(text)
    if talk.last and talk.fresh and goes_on:
        return _again(first, talk, home)
    lit = first.name == "fragment" and bool(first.targets) and all(_is_lit(one, home) for one in first.targets)
    asked = _LIGHTS.match(text) or _PLEASE.search(text)
    return replace(first, name="turn_on", hint=True) if lit and not talk.choice and asked else None


def _is_lit(target: Target, home: Home) -> bool:
    known = [home.device(id_) for id_ in target.ids]
    return target.noun == "light" or (bool(known) and all(one and one.domain == "light" for one in known))


def _of_it(wish: Wish, text: str, talk: Talk, home: Home) -> Wish | None:
    """A wish about "it": of what was spoken of; "make it warmer" is the room where that cannot be."""
    spoken_of = bool(talk.it) and talk.fresh
    if not any(target.it for target in wish.targets):
        return wish
    if wish.name in ("raise", "lower") and not spoken_of and (wish.place is not None or _HEARD.search(text)):
        return _played(wish, wish.place) if _HEARD.search(text) else None
    if wish.place is not None and all(target.it for target in wish.targets):
        return replace(wish, targets=(wish.place,), place=None)  # "make it green in the office"
    if wish.name in _ROOM_WISHES and all(target.it for target in wish.targets) and not _can(wish, talk, home):
        return replace(wish, targets=(), hint=wish.name == "change_volume")
    if wish.name == "set_brightness" and not spoken_of and _DIM.search(text):
        return replace(wish, targets=())  # "dim it to thirty" where nothing was spoken of: the room
    return wish if spoken_of else _heard_here(wish)


def _heard_here(wish: Wish) -> Wish | None:
    """ "Mute it" where nothing was spoken of: what plays in the room."""
    if wish.name not in _PLAYED or not all(target.it for target in wish.targets):
        return None
    return replace(wish, targets=(Target(noun="media_player", here=True, said="music"),), hint=True)


_PLAYED = frozenset({"set_volume", "pause", "play", "next", "previous"})


def _played(wish: Wish, place: Target | None) -> Wish:
    """ "Turn it down in the kitchen, I can't hear myself think": what plays there."""
    where = replace(place or Target(here=True, said="music"), noun="media_player")
    return replace(wish, name="change_volume", targets=(where,), place=None, hint=place is None)


def _is(wish: Wish, home: Home, domain: str) -> bool:
    """Whether nothing but one sensor is named, which is a question by itself, or one scene, which is a command."""
    if len(wish.targets) != 1 or len(wish.targets[0].devices) != 1:
        return False
    known = [home.device(id_) for id_ in wish.targets[0].devices[0]]
    return bool(known) and all(one is not None and one.domain == domain for one in known)


def _can(wish: Wish, talk: Talk, home: Home) -> bool:
    """Whether what was spoken of can do it."""
    try:
        return talk.fresh and bool(talk.it) and bool(acts_of(wish, home, Where(None, talk.it)))
    except (UnclearError, NothingError):
        return False


_WHICH = (
    (re.compile(r"\b(both|all)\b"), None),
    (re.compile(r"\b(first|former)\b"), 0),
    (re.compile(r"\b(second|latter|other)\b"), 1),
    (re.compile(r"\bthird\b"), 2),
    (re.compile(r"\blast\b"), -1),
)


def _chosen(wish: Wish, talk: Talk, text: str) -> Wish | None:
    """ "The second one": the wish that waited, with that answer."""
    if talk.choice is None or not talk.fresh:
        return None
    waiting, options = talk.choice
    found = next((number for pattern, number in _WHICH if pattern.search(text.lower())), len(options))
    if found is not None and found >= len(options):
        return None
    picked = [id_ for option in options for id_ in option] if found is None else options[found]
    return replace(waiting, targets=(Target(devices=tuple((id_,) for id_ in picked)),), place=None)


def _picked(fragment: Wish, talk: Talk) -> Wish | None:
    """ "The ceiling light": the wish that waited, where that is one of the answers."""
    if talk.choice is None:
        return None
    waiting, options = talk.choice
    offered = {id_ for option in options for id_ in option}
    for target in fragment.targets:
        named = [id_ for id_ in target.ids if id_ in offered]
        if len(named) == 1 or (named and target.placed):
            return replace(waiting, targets=(replace(target, devices=(tuple(named),)),), place=None)
        if target.is_place and target.placed:
            return replace(waiting, targets=(replace(target, devices=(tuple(offered),)),), place=None)
    if fragment.place is not None:
        return replace(waiting, targets=(replace(fragment.place, devices=(tuple(offered),)),), place=None)
    return None


def _again(fragment: Wish, talk: Talk, home: Home) -> Wish:
    """The last wish with what is named now: "and the bedroom too"."""
    last = talk.last
    if last is None:
        return fragment
    named = fragment.targets or ((fragment.place,) if fragment.place is not None else ())
    if not named:
        return last
    return replace(last, targets=tuple(_like(target, last, talk, home) for target in named), place=None)


def _like(target: Target, last: Wish, talk: Talk, home: Home) -> Target:
    """A place alone means there what was meant before: its lights, its blinds."""
    if not target.is_place:
        return target
    before = last.targets[0] if last.targets else Target(many=True)
    if before.noun or before.every:
        return replace(
            before,
            areas=target.areas,
            floors=target.floors,
            here=target.here,
            anywhere=False,
            it=False,
            this=False,
        )
    domains = {device.domain for id_ in talk.it if (device := home.device(id_)) is not None}
    noun = {
        "light": "light",
        "cover": "cover",
        "climate": "climate",
        "fan": "fan",
        "lock": "lock",
        "media_player": "media_player",
    }
    if len(domains) == 1 and (word := noun.get(next(iter(domains)))):
        return replace(target, noun=word, many=True)
    return target
