"""What a sentence names, found before its grammar: targets, places, numbers and colours become one word each.

"turn off all the lights in the kitchen except the small lamp" becomes "turn off xtarget0x". English; the words
come from home_en.toml, the names from the home's `NameBook`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from perslm_runtime.home_names import SEVERAL, Hit, Kind, NameBook
from perslm_runtime.home_values import SCALES, value_at
from perslm_runtime.home_vocabulary import LEVELS, OTHERWISE, Vocabulary, longest
from perslm_runtime.home_wish import Target

BREAK = "xpause0x"
"""Stands for a comma: no name and no place goes on over it. Not a word of the sentence afterwards."""


@dataclass(slots=True)
class Chunked:
    """A sentence with marks, and what they stand for."""

    words: list[str]
    targets: dict[str, tuple[Target, ...]] = field(default_factory=dict)
    places: dict[str, Target] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By list (n, pct, deg, kel): marks and their numbers."""

    paused: bool = False
    """Whether there is a comma in it that neither lists things nor begins an exception."""

    unit: str = ""
    """"C" or "F", where degrees were said with it."""

    domains: Mapping[str, str] = field(default_factory=dict)
    """By id: what kind of device it is."""

    def lists(self) -> dict[str, Mapping[str, Any]]:
        """The marks by the lists of the table in which they stand."""
        kinds = {kind: self.values.get(kind, {}) for kind in ("n", "pct", "deg", "kel")}
        return {"t": self.targets, "p": self.places, **kinds}


def chunk(
    words: Sequence[str], known: Vocabulary, book: NameBook, repaired: Mapping[int, Hit] | None = None
) -> Chunked:
    """The sentence with one word for each thing it names. `repaired` are names that were not said exactly."""
    return _Reading(known, list(words), book, repaired or {}).all()


class _Reading:
    """One sentence while it is read."""

    def __init__(self, known: Vocabulary, words: list[str], book: NameBook, repaired: Mapping[int, Hit]) -> None:
        self._known, self._words, self._book, self._repaired = known, words, book, repaired

    def all(self) -> Chunked:
        out = Chunked([], domains=self._book.domains)
        at = 0
        while at < len(self._words):
            if self._words[at] == BREAK:
                at += 1
                called = len(out.words) == 1 and out.words[0] in out.targets  # "Rosie, go home"
                out.paused = out.paused or not (called or longest(self._known.left_out, self._words, at))
                continue
            if color := longest(self._known.colors, self._words, at):
                out.words += color[0].split()
                at = color[1]
                continue
            if out.targets and (left := self._left_out(at)) is not None:
                mark = next(reversed(out.targets))
                *before, last = out.targets[mark]
                out.targets[mark], at = (*before, replace(last, but=left[0], many=True)), left[1]
                continue
            placed = self._placed(at)
            found = self._targets(at) if placed is None or self._words[at] in self._known.adverbs else None
            if found is not None and placed is not None and all(one.is_place for one in found[0]):
                found = None
            if found is not None:
                mark = f"xtarget{len(out.targets)}x"
                out.targets[mark], at = found
                out.words.append(mark)
            elif placed is not None:
                mark = f"xplace{len(out.places)}x"
                out.places[mark], at = placed
                out.words.append(mark)
            else:
                at = self._number(out, at)
        return out

    # Targets

    def _targets(self, at: int) -> tuple[tuple[Target, ...], int] | None:
        """One target or several with "and" between, and what is left out of them."""
        first = self._target(at)
        if first is None:
            return None
        found, end = [first[0]], first[1]
        while end < len(self._words) - 1:
            joined = self._words[end] in self._known.conjunctions or self._words[end] == BREAK
            start = end + 1 if joined else end
            while self._words[start : start + 1] in (["and"], [BREAK]) and start > end:
                start += 1
            both = self._words[end : end + 3] == ["as", "well", "as"]
            start = end + 3 if both else start
            if start == end or start >= len(self._words) or (more := self._target(start)) is None:
                break
            found.append(more[0])
            end = more[1]
        if (left := self._left_out(end)) is not None:
            found[-1], end = replace(found[-1], but=left[0], many=True), left[1]
        return tuple(_placed_alike(found)), end

    def _left_out(self, at: int) -> tuple[tuple[Target, ...], int] | None:
        """What "except ..." names, at a word."""
        phrase = longest(self._known.left_out, self._words, at)
        if phrase is None:
            return None
        ones = self._after_determiners(phrase[1])
        if self._words[ones : ones + 1] in (["one"], ["ones"]):
            ones += 1
        # "except the ones in the hall", "but not those upstairs"
        placed = self._placed(ones, trailing=True)
        if placed is not None and ones == phrase[1] and self._words[at] in ("but", "not", "and"):
            placed = placed if placed[1] == len(self._words) else None  # "but in the hall turn them on"
        return ((placed[0],), placed[1]) if placed is not None else self._targets(phrase[1])

    def _target(self, at: int) -> tuple[Target, int] | None:
        quantity, start, this = self._quantity(at)
        whole = self._every(self._after_determiners(at), "")  # "the whole house": the quantity is in its name
        heads = [head for head in (self._every(start, quantity), self._head(start), whole) if head is not None]
        if this and self._words[start : start + 1] == ["room"]:
            return Target(here=True, said="this room"), start + 1
        if not heads:
            return None
        target, end = max(heads, key=lambda head: head[1])
        if target.noun and not target.many and self._words[start - 1 : start] in _WHOLES:
            return None  # "the whole light" is the hall's, heard wrongly
        if target.is_place and quantity == "all" and not this:
            return replace(target, said=" ".join(self._words[at:end])), end  # "the whole living room"
        if target.is_place and (quantity or this):
            return None
        many = target.many or quantity in ("all", "both")
        target = replace(target, quantity=quantity or target.quantity, many=many, this=this and not target.placed)
        if not target.is_place and (placed := self._placed(end, trailing=True)) is not None:
            place, end = placed
            target = _merged(target, place)
        said = " ".join(self._words[at:end])
        return replace(target, said=said), end

    def _after_determiners(self, at: int) -> int:
        while at < len(self._words) and self._words[at] in self._known.determiners:
            at += 1
        return at

    def _quantity(self, at: int) -> tuple[str, int, bool]:
        """ "all", "any", "no" or "" before a thing; where the thing begins; whether it was pointed at."""
        this, quantity = False, ""
        for _ in range(3):
            if at >= len(self._words):
                break
            if self._book.find(self._words, at, (Kind.DEVICE,)):
                break  # a device called "My Lamp"
            found = longest(self._known.quantities, self._words, at)
            if found is not None and not quantity:
                quantity, at = found
            elif self._words[at] in self._known.determiners:
                this = this or self._words[at] in self._known.pointing
                at += 1
            else:
                break
        return quantity, at, this

    def _every(self, at: int, quantity: str) -> tuple[Target, int] | None:
        found = longest(self._known.every, self._words, at)
        if found is None:
            return None
        anywhere = any(
            word in ("house", "home", "place", "flat", "apartment") for word in self._words[at : found[1]]
        )
        return Target(
            every=True, many=True, quantity=found[0] if found[0] == "any" else quantity, anywhere=anywhere
        ), found[1]

    def _head(self, at: int) -> tuple[Target, int] | None:
        """A device by name, a class of devices, a room; the longest, with the room before it."""
        found: list[tuple[int, int, Target, int]] = []  # (end, order, target)
        for hit in self._named(at, Kind.DEVICE)[:2]:
            if hit.rank and hit.end == at + 1 and self._is_verb(at):
                continue
            # "the lights" are a class even where one room's lamp is announced as "Terrace Lights"
            own = hit.rank == 0 and len(hit.ids) == 1
            named = Target(devices=(hit.ids,), many=hit.rank == SEVERAL, guessed=hit.alike < 1.0)
            found.append((hit.end, 4 if own else 0, named, hit.end))
        noun = self._noun(at)
        if noun is not None:
            name, many, end = noun
            found.append((end, 1, Target(noun=name, many=many), end))
        place = self._place(at)
        if place is not None:
            where, end = place
            if not where.here:
                found.append((end, 1, where, end))
            inner = self._after_place(where, end)
            if inner is not None:
                found.append((inner[1], 3 if inner[0].many else 1, *inner))
        if not found:
            return None
        _, _, target, end = max(found, key=lambda one: (one[0], one[1]))
        return target, end

    def _after_place(self, where: Target, at: int) -> tuple[Target, int] | None:
        """ "kitchen lights", "bedroom ceiling light" where the name says no room."""
        if self._words[at : at + 1] == ["room"]:
            at += 1
        if self._words[at : at + 1] in (["'s"], ["s"]):
            at += 1
        if self._words[at : at + 1] in (["one"], ["ones"]) and self._words[at + 1 : at + 2] not in _COUNTED:
            return replace(where, said="ones"), at + 1  # "all but the hall one"
        hits = self._named(at, Kind.DEVICE)
        if not hits and (quantity := longest(self._known.quantities, self._words, at)) is not None:
            noun = self._noun(quantity[1])  # "downstairs: all lights off"
            many = Target() if noun is None else Target(noun=noun[0], many=True, quantity=quantity[0])
            return None if noun is None else (_merged(many, where), noun[2])
        noun = self._noun(at)
        own = bool(hits) and hits[0].rank == 0 and len(hits[0].ids) == 1
        if hits and (noun is None or hits[0].end > noun[2] or (hits[0].end == noun[2] and not noun[1] and own)):
            named = Target(devices=(hits[0].ids,), guessed=hits[0].alike < 1.0)
            return _merged(named, where), hits[0].end
        if noun is not None:
            return _merged(Target(noun=noun[0], many=noun[1]), where), noun[2]
        return None

    def _named(self, at: int, *kinds: Kind) -> list[Hit]:
        if at in self._repaired and self._repaired[at].kind in kinds:
            return [self._repaired[at]]
        return self._book.find(self._words, at, kinds) if at < len(self._words) else []

    def _noun(self, at: int) -> tuple[str, bool, int] | None:
        if self._is_verb(at):
            return None
        for length in (3, 2, 1):
            found = self._known.nouns.get(tuple(self._words[at : at + length]))
            if found is not None and at + length <= len(self._words):
                return (*found, at + length)
        return None

    def _is_verb(self, at: int) -> bool:
        """Whether a word that names a class is what is to be done: "lock the doors", "light up the hall"."""
        known, word = self._known, self._words[at] if at < len(self._words) else ""
        if word not in known.also_verbs or at + 1 >= len(self._words):
            return False
        if word == "switch" and self._words[at + 1] in ("on", "off"):
            return True
        first = at == 0 or self._words[at - 1] in known.before_verbs or self._words[at - 1] == BREAK
        return first and (word == "switch" or self._words[at + 1] not in known.after_nouns | {BREAK})

    # Places

    def _placed(self, at: int, *, trailing: bool = False) -> tuple[Target, int] | None:
        """A place that stands as one: "in the kitchen", "upstairs", "here"; not the bare name of a room."""
        if found := longest(self._known.here, _without_the(self._words, at), 0):
            end = _end_with_the(self._words, at, found[1])
            where = Target(here=found[0] == "here", anywhere=found[0] == "anywhere")
            return None if self._words[end : end + 1] == ["mode"] else (where, end)  # "in home mode"
        word = self._words[at] if at < len(self._words) else ""
        if word in self._known.adverbs and (place := self._place(at)) is not None:
            return place if trailing or not self._goes_on(place[1]) else None
        if word not in self._known.prepositions or (word in ("to", "into") and not trailing):
            return None
        start = at + 1
        while self._words[start : start + 1] and (
            self._words[start] in self._known.determiners or self._words[start] in ("whole", "entire", "all")
        ):
            start += 1
        if word == "on" and not self._is_on_place(at, start, trailing=trailing):
            return None
        place = self._place(start)
        if place is not None and self._goes_on(place[1]) and (not trailing or word in ("on", "for", "to", "into")):
            return None
        return place

    def _is_on_place(self, at: int, start: int, *, trailing: bool) -> bool:
        """Whether "on" says where: "on the first floor", but not "turn on the hall light"."""
        if trailing:
            return (
                start > at + 1
                or self._words[start : start + 1] == []
                or self._words[start] in self._known.on_places
            )
        return start > at + 1 and not (at > 0 and self._words[at - 1] in self._known.before_on)

    def _goes_on(self, at: int) -> bool:
        """Whether a room is only the beginning of what is named: "in the kitchen lamp"."""
        return at < len(self._words) and (self._noun(at) is not None or bool(self._named(at, Kind.DEVICE)))

    def _place(self, at: int) -> tuple[Target, int] | None:
        """Rooms or floors at a word, several with "and" between."""
        first = self._room(at)
        if first is None:
            return None
        target, end = first
        while self._words[end : end + 1] == ["and"] and end + 1 < len(self._words):
            start = end + 1
            while start < len(self._words) - 1 and (
                self._words[start] in self._known.determiners or self._words[start] == "in"
            ):
                start += 1
            more = self._room(start)
            if more is None or any(hit.end > more[1] for hit in self._named(start, Kind.DEVICE)):
                break
            target = Target(areas=target.areas + more[0].areas, floors=target.floors + more[0].floors)
            end = more[1]
        return target, end

    def _room(self, at: int) -> tuple[Target, int] | None:
        if at >= len(self._words):
            return None
        if self._words[at] in self._known.outside and not self._named(at, Kind.AREA):
            return Target(outside=True), at + 1
        for hit in self._named(at, Kind.AREA):
            end = hit.end + (self._words[hit.end : hit.end + 1] == ["area"])
            return Target(areas=hit.ids, guessed=hit.alike < 1.0), end
        for hit in self._named(at, Kind.FLOOR):
            return Target(floors=hit.ids, guessed=hit.alike < 1.0), hit.end + (
                self._words[hit.end : hit.end + 1] in (["floor"], ["level"])
            )
        for name, meant in LEVELS.items():
            if tuple(self._words[at : at + len(name)]) == name:
                floors = self._floors(meant) or self._floors(OTHERWISE.get(meant, meant))
                return (Target(floors=floors), at + len(name)) if floors else None
        return None

    def _floors(self, meant: re.Pattern[str]) -> tuple[str, ...]:
        return tuple(floor for floor in self._book.floors if meant.search(floor))

    # Numbers

    def _number(self, out: Chunked, at: int) -> int:
        """Take a number at a word, else the word itself; returns where to go on."""
        vague = self._words[at] in _VAGUE and at + 1 < len(self._words)
        found = value_at(self._words, at + vague + (self._words[at + 1 : at + 2] == ["a"] and vague), self._known)
        if found is None:
            out.words.append(self._words[at])
            return at + 1
        kind, value, end = found
        out.unit = next((SCALES[word] for word in self._words[at:end] if word in SCALES), out.unit)
        mark = f"xnumber{sum(map(len, out.values.values()))}x"
        out.values.setdefault(kind, {})[mark] = value
        out.words.append(mark)
        return end


def _placed_alike(found: Sequence[Target]) -> Iterator[Target]:
    """ "The blinds and the curtains downstairs": a place at the end is for every class before it."""
    last = found[-1]
    for target in found:
        yield _merged(target, last) if target.noun and not target.placed and last.placed else target


def _merged(target: Target, place: Target) -> Target:
    return replace(
        target,
        areas=target.areas + place.areas,
        floors=target.floors + place.floors,
        here=target.here or place.here,
        anywhere=target.anywhere or place.anywhere,
        outside=target.outside or place.outside,
        guessed=target.guessed or place.guessed,
    )


_COUNTED = (["degree"], ["percent"], ["hundred"])
_WHOLES = (["whole"], ["entire"], ["complete"])
_VAGUE = frozenset(("about", "around", "roughly", "approximately", "exactly", "nearly"))
_ARTICLES = ("the", "my", "our", "a")


def _without_the(words: Sequence[str], at: int) -> list[str]:
    return [word for word in words[at : at + 7] if word not in _ARTICLES]


def _end_with_the(words: Sequence[str], at: int, count: int) -> int:
    """The place behind `count` words other than articles."""
    while count:
        count -= words[at] not in _ARTICLES
        at += 1
    return at
