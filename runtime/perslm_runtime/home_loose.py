"""Commands and questions in an order that no sentence of the table has: by their words alone.

Tried after the table. Every word has to be known, as a name, a value, a cue or noise, and the cues have to be
those of one wish: then their order tells nothing that matters. A negation, a condition or the past ends it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any

from perslm_runtime.home_chunks import Chunked
from perslm_runtime.home_vocabulary import Phrases, longest, phrases
from perslm_runtime.home_wish import Number, Target, Wish

_SWITCHES = frozenset(("turn", "switch", "flip", "put", "toggle", "change"))
_WHOLLY = frozenset(("open", "close", "lock", "unlock", "turn_on", "turn_off"))
"""What cannot be done a little."""

_MOVED = frozenset(("on", "off", "up", "down"))
_IT = frozenset(("it", "them", "that", "this", "those", "these"))
_ASPECTS = frozenset(("lock", "media_player", "vacuum"))
_LIT = frozenset(("light", "shade"))


@dataclass(frozen=True, slots=True)
class _Row:
    """What cues want: all of `needs` (one of each set), none but these and `also`, and a value of this kind."""

    wish: str
    needs: tuple[frozenset[str], ...]
    also: frozenset[str]
    value: str
    word: str

    def fits(self, cues: frozenset[str], value: str) -> bool:
        """Whether it is these cues that it wants."""
        known = self.also.union(*self.needs)
        return value == self.value and cues <= known and all(cues & one for one in self.needs)


@dataclass(slots=True)
class _Read:
    """A sentence as it was read: what it names, in order, its value and its cues."""

    targets: list[Target] = field(default_factory=list)
    place: Target | None = None
    value: str = ""
    number: Number | None = None
    word: str = ""
    cues: set[str] = field(default_factory=set)
    leading: set[str] = field(default_factory=set)
    """Cues that stand before a name only, where they may be no more than a preposition: "on the speaker"."""

    aspects: list[tuple[Target, str]] = field(default_factory=list)
    """Classes that may be a cue beside a name, with it."""

    it: bool = False

    def settle(self) -> None:
        """Decide what the classes are: cues beside something that is named, else what is named."""
        for target, cue in self.aspects:
            if self.targets:
                self.cues.add(cue)
            else:
                self.targets.append(target)
        if not self.targets and self.cues & {"media", "track"} and self.place is not None:
            self.targets.append(replace(self.place, noun="media_player"))


class LooseSentences:
    """English sentences by their words. `table` is home_en.toml's, for colours, whites and states."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        source = tomllib.loads(files("perslm_runtime").joinpath("home_loose_en.toml").read_text(encoding="utf-8"))
        self._noise, self._never = frozenset(source["noise"].split()), frozenset(source["never"].split())
        self._cues = {word: cue for cue, line in source["cues"].items() for word in line.split()}
        self._rows = tuple(_row(one) for one in source["row"])
        self._colors: Phrases = phrases(table["colors"])
        self._whites: Phrases = phrases(table["whites"])
        asked = source["questions"]
        self._openers, self._about = frozenset(asked["openers"].split()), frozenset(asked["about"].split())
        self._asked_noise = frozenset(asked["noise"].split())
        self._states: Phrases = phrases({**table["states"], **asked["states"]})
        self.words = self._noise | self._cues.keys()
        """Every word that may stand in a command."""

    def command(self, words: Sequence[str], chunked: Chunked) -> Wish | None:
        """The wish of a sentence with marks; None where a word is unknown or the cues are no one wish's."""
        if "too" in words[:-1] and {"warm", "hot", "cold", "cool", "bright", "dark", "dim", "loud"} & {*words}:
            return None  # a complaint, which wants the contrary
        if self._never & {*words} or _is_told(words):
            return None
        read = None if self._is_of_each(words, chunked) else self._read(words, chunked)
        if read is None or _are_two(words, read):
            return None
        little, read.cues = "bit" in read.cues, read.cues - {"bit"}
        for cues in (frozenset(read.cues | read.leading), frozenset(read.cues)):
            row = next((one for one in self._rows if cues and one.fits(cues, read.value)), None)
            if row is None and read.value in ("color", "white", "degrees", "number"):
                row = next((one for one in self._rows if one.fits(cues, read.value)), None)
            if row is not None and not (little and row.wish in _WHOLLY):
                return _wish(_relative(row, cues, words, read.number), read)
        return None

    def denies(self, words: Sequence[str]) -> bool:
        """Whether there is a negation, a condition or a question of why in the words."""
        return bool(_DENIES & {*words})

    def _read(self, words: Sequence[str], chunked: Chunked) -> _Read | None:
        read, at = _Read(), 0
        while at < len(words):
            word = words[at]
            if word in chunked.targets:
                if not self._named(read, words[at - 1] if at else "", chunked.targets[word], chunked):
                    return None
            elif word in chunked.places:
                if read.place is not None:
                    return None
                read.place = chunked.places[word]
            elif (value := self._value(words, at, chunked)) is not None:
                if read.value:
                    return None  # two values, and which is whose tells the order
                read.value, read.number, read.word, at = value
                continue
            elif word in self._cues:
                ahead = words[at + 1] if at + 1 < len(words) else ""
                leads = word == "on" and (ahead in chunked.targets or ahead in chunked.places)
                (read.leading if leads else read.cues).add(self._cues[word])
            elif word == "and":
                if not (read.targets and at + 1 < len(words) and words[at + 1] in chunked.targets):
                    return None
            elif word not in self._noise:
                return None
            read.it = read.it or word in _IT
            at += 1
        read.settle()
        return read

    def _is_of_each(self, words: Sequence[str], chunked: Chunked) -> bool:
        """Whether things have a state each: "fan on, the lights up to fifty"."""
        if len(chunked.targets) < 2:
            return False
        kinds = (
            "thing"
            if word in chunked.targets
            else "state"
            if word in _MOVED or self._value(words, at, chunked) is not None
            else ""
            for at, word in enumerate(words)
        )
        return re.search(r"thing (?:state )+(?:thing )+state", " ".join(filter(None, kinds))) is not None

    def _value(
        self, words: Sequence[str], at: int, chunked: Chunked
    ) -> tuple[str, Number | None, str, int] | None:
        """(kind, number, word, end) of a value at a word."""
        if (number := _number(words[at], chunked)) is not None:
            return *number, "", at + 1
        if (color := longest(self._colors, words, at)) is not None:
            return "color", None, color[0], color[1]
        white = longest(self._whites, words, at)
        if white is None or (white[1] == at + 1 and words[at] in self._cues):
            return None  # "warm" alone may be what a room is to be
        return "white", white[0], "", white[1]

    def _named(self, read: _Read, ahead: str, targets: Sequence[Target], chunked: Chunked) -> bool:
        """Take what was named; False where it makes no sense right behind `ahead`, the word before it.

        Beside a name a class may be a cue: "the lock on the back door", "a red light".
        """
        before = chunked.targets.get(ahead, ())
        if before and _is_apposed(targets):
            # "the TV lights" is neither the TV nor every light
            return _may_be(before, targets[0].noun, chunked.domains)
        if _is_where(ahead, read.targets):
            if len(targets) > 1 or not targets[0].is_place or read.place is not None:
                return False  # "the lights over the island" are not those and the island
            read.place = targets[0]
            return True
        for target in targets:
            last = target.said.split()[-1] if target.said else ""
            bare = bool(target.noun) and not target.many and not target.placed and not target.it
            if bare and target.noun in _ASPECTS and last in self._cues:
                if len(targets) > 1 and last == "lock":
                    return False  # "close the garage and lock the back door": a verb of its own
                read.aspects.append((target, self._cues[last]))
            elif bare and target.noun in _LIT and read.value == "color":
                read.aspects.append((target, "color"))
            else:
                read.targets.append(target)
        return True

    # Questions

    def question(self, words: Sequence[str], chunked: Chunked) -> Wish | None:
        """A question for a state, or None: it begins as one, names one thing, and has no other word."""
        if not words or words[0] not in self._openers or (words[0] == "have" and _BARE & {*words}):
            return None
        targets: list[Target] = []
        place: Target | None = None
        states: list[str] = []
        about, at = False, 0
        while at < len(words):
            word = words[at]
            if word in chunked.targets:
                targets += chunked.targets[word]
            elif word in chunked.places:
                place = chunked.places[word]
            elif (targets or words[0] in _DONE) and (state := longest(self._states, words, at)) is not None:
                states.append(state[0])
                at = state[1]
                continue
            elif word in self._about or word in self._asked_noise or word in self._openers:
                about = about or word in self._about
            else:
                return None
            at += 1
        if not targets or any(target.is_place or target.every for target in targets):
            return None
        if any(target.said.startswith(("a ", "an ")) for target in targets):
            return None  # "what does a humidifier do" is about all of them
        if states:
            return Wish("is_state", tuple(targets), word=states[0], place=place)
        told = about and len(targets) == 1 and not targets[0].many and not targets[0].guessed
        return Wish("state_of", tuple(targets), place=place) if told else None


_WHERE = frozenset(("in", "on", "at", "over", "above", "under", "by", "near", "beside", "behind"))
_BARE = frozenset(("lower", "close", "lock", "unlock", "up", "down"))
"""States of a question with "did" only: "have the lights lower" is none."""
_DONE = frozenset(("did", "have", "has"))
_SURE = frozenset(("sure", "ensure", "certain", "see"))
_WANTS = frozenset(("want", "need", "would", "could", "can", "should", "must", "prefer", "may", "might"))


def _are_two(words: Sequence[str], read: _Read) -> bool:
    """Whether two things are wanted: "close the awning, heater off", "would you rather have it on or off"."""
    if {"open", "close"} & read.cues and {"on", "off"} & {*words[1:]} and len(read.targets) > 1:
        return True
    return read.cues >= {"on", "off"} and not _SWITCHES & {*words}


def _is_where(ahead: str, named: Sequence[Target]) -> bool:
    """Whether what comes now says where the last thing is: "the lights over ...", but "music on the speaker"."""
    return bool(ahead in _WHERE and named and named[-1].noun not in ("", "media_player"))


def _is_told(words: Sequence[str]) -> bool:
    """Whether somebody tells or asks something: "the lamp is on", "we like it dark", "is it on"."""
    if not words or words[0] in ("is", "are", "do", "does", "be"):
        return True
    if words[0] in ("can", "could", "may", "should", "shall") and words[1:2] in (["i"], ["we"], ["they"]):
        return True
    if "next to" in " ".join(words):  # a place
        return True
    if words[0] in ("i", "we", "they", "you", "it", "somebody", "someone") and not _WANTS & {*words[1:2]}:
        return True
    return any(word in ("is", "are") and not _SURE & {*words[:at]} for at, word in enumerate(words))


def _is_apposed(targets: Sequence[Target]) -> bool:
    """Whether this is a class without a word of its own, which directly behind a name says what kind that is."""
    (one, *more) = targets
    plain = not (one.placed or one.it or one.this or one.every or one.quantity)
    return not more and bool(one.noun) and plain and len(one.said.split()) == 1


def _may_be(named: Sequence[Target], noun: str, domains: Mapping[str, str]) -> bool:
    """Whether what was named may be called so: a light may hang on a switch."""
    kinds = (noun, "switch") if noun == "light" else (noun,)
    ids = [id_ for target in named for id_ in target.ids]
    return bool(ids) and all(domains.get(id_) in kinds for id_ in ids)


def _row(one: Mapping[str, Any]) -> _Row:
    needs = tuple(frozenset(line.split("|")) for line in one["needs"])
    also = frozenset(one.get("also", "").split())
    return _Row(one["wish"], needs, also, one.get("value", ""), one.get("word", ""))


def _number(word: str, chunked: Chunked) -> tuple[str, Number] | None:
    """The kind and value of a number's mark."""
    for kind, values in chunked.values.items():
        if word in values:
            return {"deg": "degrees", "kel": "white"}.get(kind, "number"), values[word]
    return None


_DENIES = frozenset(("not", "never", "if", "unless", "when", "while", "until", "why", "who", "because"))
_UP = frozenset(("up", "raise", "more", "brighter", "louder", "warmer", "faster"))
_DOWN = frozenset(("down", "lower", "less", "dimmer", "quieter", "cooler", "slower"))


_ALL = 100  # percent


def _relative(row: _Row, cues: frozenset[str], words: Sequence[str], number: Number | None) -> _Row:
    """ "Up 20 percent" is by so much, "up to 20 percent" to that."""
    if not row.wish.startswith("set_") or row.value not in ("number", "degrees") or {"to", "at"} & {*words}:
        return row
    if number is not None and number >= _ALL:
        return row  # "lights up full"
    up, down = bool(cues & _UP), bool(cues & _DOWN)
    return replace(row, wish=f"change_{row.wish[4:]}", word="up" if up else "down") if up is not down else row


def _wish(row: _Row, read: _Read) -> Wish | None:
    """The wish of a row with what was named; None where nothing was."""
    targets = read.targets
    if not targets and read.place is not None:
        return Wish(row.wish, (read.place,), read.number, row.word or read.word)
    if not targets and read.it:
        targets = [Target(it=True, said="it")]
    return Wish(row.wish, tuple(targets), read.number, row.word or read.word, read.place) if targets else None
