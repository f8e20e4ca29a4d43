"""The names of a home in what was said: found exactly, and where that fails repaired by sound and spelling.

Names are compared without spaces and apostrophes, numbers as digits: "living room lamp 2" is "livingroom lamp
two". A repair never chooses between two that fit alike: it gives both. Knows no grammar and no device but its id.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from perslm_runtime.number_words import cardinal

_LONGEST_WORDS = 12
_SHORTEST_REPAIRED = 4  # letters; "tv" is near too much
_ALIKE = 0.75  # of 1.0; below it more chat was "repaired" into names than names were found
_SPELLED = 0.6
_SHORT, _SPELLED_SHORT = 5, 0.65  # letters
_CLEARLY = 0.08  # how much better the best has to be than the next


Thing = Callable[[list[str], int], int]
"""Where the thing of the home ends that begins at a word; the word itself where none begins there."""
SEVERAL = 6
"""The rank of a plural that several names end in: "the night lights"."""


class Kind(Enum):
    """What a name is of."""

    DEVICE = "device"
    AREA = "area"
    FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name of one thing. `rank` 0 is its own name or alias, 1 the name without its room, 2 its apparatus'.

    `domain` is a device's, for Home Assistant's sentences: "open" is another intent for a lock than for a blind.
    `area` is the room where it is, by whose name it may be told apart.
    """

    name: str
    kind: Kind
    id: str
    rank: int = 0
    domain: str = ""
    area: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A name in a sentence: words up to `end`, and what it may mean. `alike` is 1.0 where it was said exactly."""

    end: int
    kind: Kind
    ids: tuple[str, ...]
    alike: float = 1.0
    rank: int = 0


class NameBook:
    """Every name of the home. Made once for each state of its names; 1,200 names take about 30 ms."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._ids: dict[Kind, dict[str, tuple[int, list[str]]]] = {kind: {} for kind in Kind}
        self.words: set[str] = set()
        """Every word that is part of a name."""
        self.domains: dict[str, str] = {}
        """What kind of device each id is, where it was told."""
        for entry in self.entries:
            if entry.domain:
                self.domains[entry.id] = entry.domain
            words = _plain(entry.name)
            if not words:
                continue
            self.words.update(words)
            rank, ids = self._ids[entry.kind].setdefault("".join(words), (entry.rank, []))
            if entry.rank < rank:
                ids.clear()
                self._ids[entry.kind]["".join(words)] = (entry.rank, ids)
            if entry.rank <= rank and entry.id not in ids:
                ids.append(entry.id)
        self.floors = tuple(dict.fromkeys(id_ for _, ids in self._ids[Kind.FLOOR].values() for id_ in ids))
        """Every floor there is."""
        self._near: _Near | None = None

    def find(self, words: Sequence[str], at: int, kinds: Iterable[Kind] = Kind) -> list[Hit]:
        """The names that begin at a word, the longest first; of equally long ones devices before rooms."""
        key, keys = "", []
        for end in range(at, min(len(words), at + _LONGEST_WORDS)):
            if (part := _key(words, end)) is None:
                break
            key += part
            keys.append((end + 1, key))
            if words[end].endswith("'s"):  # "Rosie's battery"
                keys.append((end + 1, key.removesuffix("s")))
        wanted = tuple(kinds)
        return [
            Hit(end, kind, tuple(self._ids[kind][key][1]), rank=self._ids[kind][key][0])
            for end, key in reversed(keys)
            for kind in wanted
            if key in self._ids[kind]
        ]

    def repair(self, words: Sequence[str], start: int, end: int, kinds: Iterable[Kind] = Kind) -> Hit | None:
        """The name that words `start` to `end` were meant to be; None where none is near enough.

        Where two are about equally near, its ids are those of both.
        """
        parts = [_key(words, at) for at in range(start, end)]
        key = "".join(part for part in parts if part)
        if len(key) < _SHORTEST_REPAIRED or None in parts:
            return None
        if self._near is None:
            self._near = _Near({name: kind for kind in Kind for name in self._ids[kind]})
        wanted = set(kinds)
        found = [one for one in self._near.to(key) if one[2] in wanted]
        if len(key) <= _SHORT:  # the sound of a short word says little: "sauna" is no Shaun
            found = [one for one in found if likeness(key, one[1]) >= _SPELLED_SHORT]
        if not found or found[0][0] < _ALIKE:
            return None
        best, _, kind = found[0]
        ids = [
            id_
            for alike, name, other in found
            if other is kind and alike > best - _CLEARLY
            for id_ in self._ids[kind][name][1]
        ]
        return Hit(end, kind, tuple(dict.fromkeys(ids)), best)


class _Near:
    """Names by their pairs of letters, so that few have to be compared."""

    def __init__(self, kinds: dict[str, Kind]) -> None:
        self._kinds = kinds
        self._sounds = {name: sound_of(name) for name in kinds}
        self._by_pair: dict[str, list[str]] = defaultdict(list)
        for name in kinds:
            for pair in _pairs(name) | _pairs(self._sounds[name]):
                self._by_pair[pair].append(name)

    def to(self, key: str) -> list[tuple[float, str, Kind]]:
        """(likeness, name, kind) of the names near `key`, the nearest first."""
        sound = sound_of(key)
        shared: dict[str, int] = defaultdict(int)
        pairs = _pairs(key) | _pairs(sound)
        for pair in pairs:
            for name in self._by_pair.get(pair, ()):
                shared[name] += 1
        likely = sorted(shared, key=lambda name: shared[name] / (len(name) + len(key)), reverse=True)[:12]
        found = [
            (self._alike(key, sound, name), name, self._kinds[name])
            for name in likely
            if abs(len(name) - len(key)) <= max(2, len(name) // 3)
        ]
        return sorted(found, key=lambda one: one[0], reverse=True)

    def _alike(self, key: str, sound: str, name: str) -> float:
        spelled, heard = likeness(key, name), likeness(sound, self._sounds[name])
        # Sound alone makes "guitar" a heater: every vowel is one letter there.
        return spelled if spelled < _SPELLED else max(spelled, heard - 0.04)


def _pairs(text: str) -> set[str]:
    return {text[at : at + 2] for at in range(len(text) - 1)}


def _plain(name: str) -> list[str]:
    words = re.findall(r"\w+", re.sub(r"['’]", "", name.lower()).replace("_", " "))
    if len(words) > 1 and words[0] == "the":
        words = words[1:]
    parts = [_key(words, at) for at in range(len(words))]
    return [part for part in parts if part]


def _key(words: Sequence[str], at: int) -> str | None:
    """A word as it is compared; None where no name goes on: behind the mark of something already found."""
    return _key_of(words[at])


@lru_cache(maxsize=4096)  # a fifth of the time of a sentence, whose parts are looked up again and again
def _key_of(word: str) -> str | None:
    if word.startswith("x") and word.endswith("x") and any(map(str.isdigit, word)):
        return None
    number = cardinal([word.lower()], 0)
    if number is not None:
        return str(number[0])
    return re.sub(r"[^\w]", "", word.lower())


def likeness(one: str, other: str) -> float:
    """1.0 for equal texts, 0.0 for nothing in common: one minus the edits (a swap is one) per letter."""
    if one == other:
        return 1.0
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        former, before, row = before, row, [at]
        for number, theirs in enumerate(other, 1):
            cost = min(before[number] + 1, row[-1] + 1, before[number - 1] + (letter != theirs))
            if at > 1 and number > 1 and letter == other[number - 2] and one[at - 2] == theirs:
                cost = min(cost, former[number - 2] + 1)
            row.append(cost)
    return 1.0 - row[-1] / max(len(one), len(other), 1)


_SOUNDS = (
    (re.compile(r"^(kn|gn|pn)"), "n"),
    (re.compile(r"^wr"), "r"),
    (re.compile(r"ough|augh"), "o"),
    (re.compile(r"igh"), "i"),
    (re.compile(r"ph"), "f"),
    (re.compile(r"ck|q|c(?=[^eiyh]|$)|ch(?=[rl])"), "k"),
    (re.compile(r"c(?=[eiy])|z"), "s"),
    (re.compile(r"wh"), "w"),
    (re.compile(r"dge|dg|j"), "j"),
    (re.compile(r"mb\b"), "m"),
    (re.compile(r"v"), "f"),
    (re.compile(r"d"), "t"),
    (re.compile(r"b"), "p"),
    (re.compile(r"g(?=[eiy])"), "j"),
    (re.compile(r"(?<=[a-z])h"), ""),
    (re.compile(r"(?<!^)[aeiouyw]+"), "a"),
    (re.compile(r"^[aeiouy]+"), "a"),
    (re.compile(r"(.)\1+"), r"\1"),
)


def sound_of(text: str) -> str:
    """How an English word sounds, roughly: voiced and voiceless alike, every vowel one letter."""
    for pattern, instead in _SOUNDS:
        text = pattern.sub(instead, text)
    return text.removesuffix("a")
