"""From a wish to devices: which ones are meant, what each can do of it, or what has to be asked first.

Names count before classes, a room that was said before the room where it was said, one device before a guess:
where two fit, the answer is a question. Works nothing and knows no sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from perslm_daemon.home import Home
from perslm_daemon.home_called import (
    HUNG,
    called_and_more,
    called_so,
    is_another,
    is_one_lamp,
    main_of,
    place_words,
    siblings_of,
    the_room,
    without_radios,
)
from perslm_daemon.home_device import Action, Device
from perslm_daemon.home_nouns import fits, is_called, is_outside
from perslm_daemon.home_words import the
from perslm_runtime.home_wish import Target, Wish

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Where:
    """What a conversation gives: the room it is in, and what was spoken of last."""

    area: str | None = None
    it: tuple[str, ...] = ()


class UnclearError(Exception):
    """Several fit: the message is a question, `options` are the devices, one set for each answer."""

    def __init__(self, question: str, options: tuple[tuple[str, ...], ...] = ()) -> None:
        super().__init__(question)
        self.options = options


class NothingError(Exception):
    """Nothing fits; the message says so."""


Able = Callable[[Device], bool]


@dataclass(slots=True)
class Resolver:
    """Finds devices for one wish. `able` says which can do it, or can answer."""

    home: Home
    where: Where
    able: Able
    verb: str = ""
    query: bool = False
    _pool: tuple[Device, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._pool = tuple(device for device in self.home.devices() if not device.hidden)

    def all(self, wish: Wish, default: Callable[[Device], bool]) -> list[Device]:
        """Every device that is meant. `default` are those that a place alone means. Raises as `one` does."""
        place = wish.place
        targets = wish.targets or (Target(many=True),)
        found: list[Device] = []
        for number, named in enumerate(targets):
            target = named if place is None or named.placed else _at(named, place)
            (but,) = target.but if target.every and not target.placed and len(target.but) == 1 else (None,)
            if but is not None and (but.devices or (but.noun and but.placed)):
                target = _at(target, but)  # "everything but the kettle in the kitchen": all of it is there
            if target.is_place and number and targets[number - 1].noun:
                target = replace(target, noun=targets[number - 1].noun, many=True)
            beside = found[-1].area if found else None
            found += [device for device in self._beside(target, default, beside) if device not in found]
        spared = {device.id for target in targets for but in target.but for device in self._left_out(but)}
        return [device for device in found if device.id not in spared]

    def _beside(self, target: Target, default: Able, beside: str | None) -> list[Device]:
        """A target; of several that fit that one in the room of what was named: "bathroom light and fan off"."""
        try:
            return self._one(target, default, beside)
        except UnclearError:
            if not beside or target.noun in ("", "climate") or target.placed or target.devices:
                raise
        return self._one(replace(target, areas=(beside,)), default, beside)

    def _one(self, target: Target, default: Able, beside: str | None) -> list[Device]:
        spared = [device for but in target.but for device in self._left_out(but)]
        left_out = {device.id for device in spared}
        if self._is_of_here(target, spared):
            target = replace(target, here=True)
        if target.it and not target.noun:
            found = self._it()
        elif target.devices:
            found = self._named(target, beside)
        elif target.noun:
            found = self._of_noun(target)
        elif target.every:
            found = self._everything(target)
        else:
            found = self._of_place(target, default)
        for but in target.but:  # "upstairs except the bathroom": the one that is upstairs
            if but.areas and not but.devices and not left_out & {device.id for device in found}:
                left_out |= {device.id for device in found if _ends_alike(device.area or "", but.areas)}
        return [device for device in found if device.id not in left_out]

    def _is_of_here(self, target: Target, spared: Sequence[Device]) -> bool:
        """Whether all of something is all of this room: "all but the corner lamp", which is here."""
        area = self.where.area
        if target.placed or not area or target.devices or not (target.every or target.many or target.quantity):
            return False
        if any(but.placed for but in target.but):
            return False
        if target.every and not target.but and not self.query and self.verb not in _SAID_ITSELF:
            return True  # "everything off", said in a room; the house has to be said
        mine = _MINE.match(target.said) is not None and "'" in area
        return mine or (bool(spared) and all(map(self._is_here, spared)))

    def _left_out(self, target: Target) -> Sequence[Device]:
        """What "except ..." names; nothing that is not there is asked about."""
        if target.devices:
            named = [device for id_ in target.ids if (device := self.home.device(id_)) is not None]
            return [device for device in named if len(target.devices) == 1 and self._is_here(device)] or named
        pool = self._in_place(self._pool, target)
        found = [device for device in pool if not target.noun or fits(device, target.noun)]
        if target.noun and not target.placed:
            found = [device for device in found if self._is_here(device)] or found
        if target.noun == "light":
            lamps = [device for device in found if "lamp" in device.name.lower()]
            return lamps if _LAMP.search(target.said) and lamps else found
        return (called_so(found, target) or found) if target.noun else found

    def _it(self) -> list[Device]:
        found = [device for id_ in self.where.it if (device := self.home.device(id_)) is not None]
        if not found:
            raise NothingError("I do not know what you mean by that: say its name")
        return found

    # By name

    def _named(self, target: Target, beside: str | None) -> list[Device]:
        found: list[Device] = []
        for ids in target.devices:
            known = [device for id_ in ids if (device := self.home.device(id_)) is not None]
            found += self._of_name(self._of_this_room(known, target) or known, target, beside)
        return found

    def _of_name(self, known: list[Device], target: Target, beside: str | None) -> list[Device]:
        shown = [device for device in known if not device.hidden] or known
        placed = self._in_place(shown, target) if target.placed else shown
        if not placed:
            raise NothingError(f"there is no {_without_article(target.said) or known[0].name}")
        able = [device for device in placed if self.able(device)]
        if not able:
            able = [one for one in siblings_of(placed[0], self._pool) if self.able(one)]
        if not able and self.query:
            raise NothingError(f"{the(placed[0].name)} does not tell that")
        if not able and all(device.domain == "binary_sensor" for device in placed):
            raise NothingError(f"{the(placed[0].name)} can only be read")  # "close the kitchen window"
        found = able or placed
        if len(found) == 1 or target.many:
            return found
        if target.this and (near := [device for device in found if device.id in self.where.it]):
            return near
        for area in (beside, self.where.area):
            near = [device for device in found if area and (device.area or "").lower() == area.lower()]
            if len(near) == 1:
                return near
        if self.query and len({device.physical for device in found}) == 1:
            return found
        if len({device.domain for device in found}) > 1 and not target.guessed:
            # "the living room": its lamp and its plug have one name; the first kind that can do it is meant
            first = min(found, key=lambda device: _ORDER.index(device.domain) if device.domain in _ORDER else 99)
            same = [device for device in found if device.domain == first.domain]
            if len(same) == 1:
                return same
        raise UnclearError(_which(found), tuple((device.id,) for device in found))

    def _of_this_room(self, known: list[Device], target: Target) -> list[Device]:
        """The one thing here that is called so and more, where what is called just so is elsewhere."""
        if target.placed or target.many or any(self._is_here(one) for one in known):
            return []
        near = [one for one in self._pool if self._is_here(one) and self.able(one)]
        found = called_and_more(_without_article(target.said), near)
        return found if len(found) == 1 else []

    def _is_here(self, device: Device) -> bool:
        return bool(self.where.area) and (device.area or "").lower() == (self.where.area or "").lower()

    # By class

    def _of_noun(self, target: Target) -> list[Device]:
        pool = [device for device in self._pool if fits(device, target.noun, self.verb) and device.kind != "group"]
        pool = self._hung(target) or pool
        called = [device for device in pool if is_called(device, target.noun)]
        able = [device for device in called or pool if self.able(device)] or [
            device for device in pool if self.able(device)
        ]
        if target.it or target.this:
            near = [device for device in able if device.id in self.where.it]
            if near:
                return near
        able = without_radios(able, target)
        if is_another(self._in_place(able, target) if target.placed else able, target):
            raise NothingError(f"there is no {_noun(target)} that I know")
        if target.placed:
            return self._of_noun_placed(able, pool, target)
        if target.noun != "light":  # "the lamp" is any light where nothing in the room is called so
            so = called_so(able, target)
            able = so if so and (any(map(self._is_here, so)) or not any(map(self._is_here, able))) else able
        if not able:
            raise NothingError(self._cannot(pool) if pool else f"there is no {_noun(target)} that I know")
        near = [device for device in able if self._is_here(device)]
        near = main_of(near, target) or called_so(near, target) or near
        if target.quantity == "both":
            return _pair(target, near or able, able)
        everywhere = target.quantity == "all" or (target.quantity and self.query) or self.verb in _COUNTED
        if everywhere and not target.this:
            return able
        of_a_room = target.noun == "light" and not is_one_lamp(near, target)
        if near and (target.many or len(near) == 1 or of_a_room):
            return near
        return (called_so(able, target) or able) if target.many else self._single(near or able)

    def _of_noun_placed(self, able: list[Device], pool: list[Device], target: Target) -> list[Device]:
        """Of a class in a place: "the light in the kitchen" is all of its lamps, "the plug" is one."""
        found = self._in_place(able, target)
        if not found and target.noun in _ROAMS and len(able) == 1:
            return able  # it goes where it is sent: "the kitchen's full of crumbs, start the vacuum"
        if not found:
            there = self._in_place(pool, target)
            none = f"there is no {_noun(target)} {place_words(target)}"
            raise NothingError(self._cannot(there) if there else none)
        if target.quantity == "both" and len(found) > 1:
            found = called_so(found, target) or found
            return _pair(target, found, found)
        found = main_of(found, target) or called_so(found, target) or found
        heard = target.noun == "media_player" and "music" in target.said and self.verb in _QUIET
        return (
            found if target.many or target.quantity or target.noun in _TOGETHER or heard else self._single(found)
        )

    def _hung(self, target: Target) -> list[Device]:
        """The blinds of a room in which "the curtains" are said and none hang: whatever covers its windows."""
        if target.noun not in HUNG or not (target.placed or self.where.area):
            return []
        there = self._in_place(self._pool, target if target.placed else replace(target, here=True))
        hung = [device for device in there if any(fits(device, noun, self.verb) for noun in HUNG)]
        return [] if any(fits(device, target.noun, self.verb) for device in hung) else hung

    def _single(self, found: list[Device]) -> list[Device]:
        if len(found) == 1:
            return found
        if self.query:
            return found
        raise UnclearError(_which(found), tuple((device.id,) for device in found))

    def _cannot(self, pool: Sequence[Device]) -> str:
        if not pool:
            return "there is nothing that can do that"
        who = the(pool[0].name) if len(pool) == 1 else f"those {len(pool)} devices"
        if self.query:
            return f"{who} {'does' if len(pool) == 1 else 'do'} not tell that"
        return f"{who} cannot {self.verb.replace('_', ' ')}"

    # By place

    def _everything(self, target: Target) -> list[Device]:
        if self.query:
            pool = self._in_place(self._pool, target) if target.placed else list(self._pool)
            return [device for device in pool if self.able(device)]
        everything = set(self.home.everything())
        all_of_it = self.verb in _SAID_ITSELF
        pool = [device for device in self._pool if (all_of_it or device.id in everything) and self.able(device)]
        found = self._in_place(pool, target) if target.placed else pool
        if not found:
            raise NothingError(f"there is nothing {place_words(target)} that could do that")
        return found

    def _of_place(self, target: Target, default: Able) -> list[Device]:
        if not target.placed and self.verb in _SAID_ITSELF and not self.query:  # "lock up", in the hall as well
            return [device for device in self._pool if default(device) and self.able(device)]
        if not target.placed:
            here = replace(target, here=True)
            if self.where.area:
                found = [
                    device for device in self._in_place(self._pool, here) if default(device) and self.able(device)
                ]
                if found:
                    return found
            recent = [
                device
                for id_ in self.where.it
                if (device := self.home.device(id_)) is not None and default(device) and self.able(device)
            ]
            if recent:
                return recent
            pool = [device for device in self._pool if default(device) and self.able(device)]
            if self.query or len(pool) == 1 or (pool and self.verb in _SAID_ITSELF):
                return pool
            raise UnclearError("Where? Say a room or a name")
        pool = self._in_place(self._pool, target)
        if self.verb == "turn_off" and not self.query:
            everything = set(self.home.everything())
            found = [device for device in pool if device.id in everything and self.able(device)]
        else:
            found = [device for device in pool if default(device) and self.able(device) and device.kind != "group"]
        if not found:
            raise NothingError(
                f"there is nothing {place_words(target)} that could do that"
                if not self.query
                else f"nothing {place_words(target)} tells that"
            )
        return found

    def _in_place(self, pool: Iterable[Device], target: Target) -> list[Device]:
        if target.anywhere:
            return list(pool)
        if target.outside:
            return [device for device in pool if is_outside(device)]
        areas = {area.lower() for area in target.areas}
        floors = {floor.lower() for floor in target.floors}
        if target.here and not areas and not floors:
            if not self.where.area:
                if not self.where.it:
                    raise UnclearError("Which room do you mean?")
                areas = {
                    (device.area or "").lower()
                    for id_ in self.where.it
                    if (device := self.home.device(id_)) is not None
                }
            else:
                areas = {self.where.area.lower()}
        if areas and floors and " and " not in target.said:  # "the bedroom lights upstairs": those of both
            both = [
                one for one in pool if (one.area or "").lower() in areas and (one.floor or "").lower() in floors
            ]
            if both:
                return both
        return [
            device
            for device in pool
            if (
                not areas
                or (device.area or "").lower() in areas
                or (floors and (device.floor or "").lower() in floors)
            )
            and (not floors or (device.floor or "").lower() in floors or (device.area or "").lower() in areas)
        ]


def _ends_alike(area: str, names: Sequence[str]) -> bool:
    return any(area.lower().endswith(f" {name.lower()}") for name in names)


def _pair(target: Target, near: list[Device], able: list[Device]) -> list[Device]:
    """What "both lamps" are: the two that there are, here or in the house."""
    word = (target.said.split(" in ")[0].split() or [""])[-1].removesuffix("s")
    for pool in (near, able):
        for found in (pool, [device for device in pool if word and word in device.name.lower()]):
            if len(found) == 2:
                return found
    beside = [
        device for device in able if _OWN_LAMP.match(device.name) and "bedroom" in (device.area or "").lower()
    ]
    if word == "lamp" and len(beside) == 2 and len({device.area for device in beside}) == 1:
        return beside  # "both bedside lamps" are hers and his
    raise UnclearError(_which(near or able), tuple((device.id,) for device in near or able))


_OWN_LAMP = re.compile(r"^\w+'s lamp$", re.IGNORECASE)


def _at(target: Target, place: Target) -> Target:
    """A target where a place was said apart from it."""
    return replace(
        target,
        areas=place.areas,
        floors=place.floors,
        here=place.here,
        anywhere=place.anywhere,
        outside=place.outside,
    )


_QUIET = frozenset({"turn_off", "pause", "stop"})
"""What the music of a whole floor may be told at once."""

_LAMP = re.compile(r"\blamps?\b", re.IGNORECASE)
_MINE = re.compile(r"^all (?:of )?(?:my|our)\b")
_ROAMS = frozenset({"vacuum", "lawn_mower"})
_COUNTED = frozenset({"which", "how_many"})
"""Questions that are about the whole house where no room is said."""

_SAID_ITSELF = frozenset({"lock"})
"""Wishes that mean locks where nothing is named: "lock everything", "lock up"."""

_TOGETHER = frozenset({"light", "climate", "blind", "cover", "curtain", "shutter", "window"})
"""Classes of which a place's are meant together, also in the singular."""

_ORDER = ("light", "switch", "fan", "cover", "media_player", "climate", "lock", "vacuum", "humidifier", "valve")


def _which(found: Sequence[Device]) -> str:
    names = [the(device.name) for device in found]
    if len(set(names)) < len(names):
        names = [
            f"{the(device.name)} in {the_room(device.area)}" if device.area else the(device.name)
            for device in found
        ]
    shown = names[:_MOST_NAMED]
    more = f", or one of {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    if len(shown) == 1:
        return f"Do you mean {shown[0]}{more}?"
    head = f"{', '.join(shown)}" if more else f"{', '.join(shown[:-1])} or {shown[-1]}"
    return f"Which one: {head}{more}?"


def _noun(target: Target) -> str:
    return {"climate": "heating", "media_player": "player", "garage": "garage door"}.get(
        target.noun, target.noun.replace("_", " ")
    )


def _without_article(said: str) -> str:
    return said.removeprefix("the ").removeprefix("my ")


# What is done


@dataclass(frozen=True, slots=True)
class Act:
    """One action on devices."""

    action: Action
    devices: tuple[str, ...]
