"""Names said in part or in other words: "the dinosaur" for the Dinosaur Lamp, "coffee maker" for a machine.

A name fits where every word said is one of the device's own: of its name, an alias, its room or its kind, and
at least one tells it apart from its kind and room. Several that fit are all given: nothing is guessed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perslm_runtime.home_names import Entry, Hit, Kind, NameBook
from perslm_runtime.home_synonyms import plain

_KINDS = {
    "light": "light",
    "switch": "plug switch",
    "fan": "fan",
    "lock": "lock door",
    "climate": "heater",
    "media_player": "speaker player",
    "vacuum": "vacuum",
    "lawn_mower": "mower",
    "cover": "",
    "siren": "siren",
    "valve": "valve tap",
    "humidifier": "humidifier",
    "scene": "scene mode time mood routine",
}
_ARTICLES = frozenset(
    ("the", "a", "an", "my", "our", "your", "his", "her", "their", "of", "in", "on", "at", "from")
)
_POINTING = frozenset(("the", "that", "my", "our"))
_COOKS = frozenset(("slow", "rice", "pressure", "egg"))
_ALIKE = 0.99
_SCENE_WORDS = 2
_ENOUGH = frozenset(("front", "back", "side", "garage"))
"""Words of the language that are a name where they are the only thing called so: "lock the front"."""
_ONES = frozenset(("one", "ones"))
_BESIDE_FURNITURE = re.compile(
    r"\b(one|lights?|lamps?|pendants?|spots|blinds?|curtains?|shutters?|plug|fan|speaker|heater|radiator|sensor|"
    r"camera)"
    r" (?:that is |that are )?(?:over|above|by|near|beside|behind|under|next to|at) the (\w+)\b"
)
"""A thing of the home by what it is beside: "the light over the workbench"."""
_ONE_OF_A_ROOM = frozenset(("fan", "heater", "radiator", "speaker", "blind"))
_FURNITURE = frozenset(
    word
    for line in (
        "cooker stove hob sink table desk bed sofa couch window door bath mirror telly",
        "fireplace counter worktop",
    )
    for word in line.split()
)


InPart = Callable[[list[str]], Mapping[int, Hit]]


@dataclass(slots=True)
class _Known:
    """One device by its words: `own` are those of its names, `heads` the last of each, `beside` room and kind."""

    own: set[str] = field(default_factory=set)
    heads: set[str] = field(default_factory=set)
    beside: set[str] = field(default_factory=set)
    domain: str = ""


class PartNames:
    """The devices of a home by the words of their names.

    `common` are words that alone name no device, `classes` those of them that are all of a kind, as "lamp" is.
    """

    def __init__(self, entries: Iterable[Entry], common: Iterable[str], classes: Iterable[str] = ()) -> None:
        self._common = {plain(word) for word in common}
        self._classes = {plain(word) for word in classes}
        self._known: dict[str, _Known] = defaultdict(_Known)
        self._by_word: dict[str, set[str]] = defaultdict(set)
        for entry in entries:
            if entry.kind is not Kind.DEVICE or entry.rank > 0:
                continue
            one, words = self._known[entry.id], [plain(word) for word in entry.name.lower().split()]
            words = [word for word in words if word not in _ARTICLES]
            room = {plain(word) for word in entry.area.lower().split()}
            one.own.update(words)
            one.heads.update(words[-1:])
            one.beside |= room | {*_KINDS.get(entry.domain, "").split()}
            one.domain = entry.domain
            for word in words:
                self._by_word[word].add(entry.id)

    def at(self, words: Sequence[str], start: int) -> Hit | None:
        """The devices that words from `start` on name in part, as many words as can be; None where none."""
        for end in range(min(len(words), start + 5), start, -1):
            if words[start] == "switch" and words[start + 1 : start + 2] in (["on"], ["off"]):
                return None  # "switch on the white noise" is no switch
            if words[start] in _ARTICLES or words[end - 1] in _ARTICLES:
                continue
            if words[start] == "lock" and words[start + 1 : start + 2] in (["the"], ["my"], ["our"]):
                continue  # "lock the back door" is to lock it
            if end == start + 1 and words[start] in _ENOUGH and words[end : end + 1] in (["on"], ["off"], ["up"]):
                continue  # "fence back on"
            if ids := self._of(words[start:end]):
                return Hit(end, Kind.DEVICE, ids, _ALIKE)
        if start and words[start - 1] in _POINTING and (ids := self._only_one(plain(words[start]))):
            return Hit(start + 1, Kind.DEVICE, ids, _ALIKE)
        return None

    def _only_one(self, head: str) -> tuple[str, ...]:
        """The one device whose name ends so: "the fire", though to fire is to start."""
        ids = [id_ for id_ in self._by_word.get(head, ()) if head in self._known[id_].heads]
        if len(ids) != 1 or head in self._classes or self._known[ids[0]].domain == "scene":
            return ()
        return tuple(ids)

    def _of(self, said: Sequence[str]) -> tuple[str, ...]:
        words = [plain(word) for word in said if word not in _ARTICLES]
        one = len(words) > 1 and words[-1] in _ONES
        words = [word for word in words if word not in _ONES]
        telling = [word for word in words if word in self._by_word and (one or word not in self._common)]
        if len(telling) == 0 and len(words) > 1 and not one:
            telling = [word for word in words if word in self._by_word]
            telling = telling if len(telling) > 1 else []  # "the big telly": two words of one name
        if not telling and len(words) == 1 and words[0] in _ENOUGH:
            telling = [word for word in words if word in self._by_word]
        if not telling or len(words) != len({*words}):
            return ()
        few = set.intersection(*(self._by_word[word] for word in telling))
        fits = [
            id_ for id_ in few if all(word in self._known[id_].own | self._known[id_].beside for word in words)
        ]
        if "oven" in said:  # which is a cooker, and no slow one
            fits = [id_ for id_ in fits if not _COOKS & self._known[id_].own]
        # Where "tree" is the end of one name and in the middle of another, the first is meant.
        if len(words) < _SCENE_WORDS:  # "the movie" is no Movie Night
            fits = [id_ for id_ in fits if self._known[id_].domain != "scene"]
        heads = [id_ for id_ in fits if words[-1] in self._known[id_].heads]
        return tuple(sorted(heads or fits))


def by_furniture(spoken: str, book: NameBook, rooms: Container[str], in_part: InPart) -> str:
    """ "The light over the workbench" as "the workbench light", where a device is called so in part.

    `rooms` are the words for rooms, `in_part` finds the names that words hold in part.
    """

    def named(found: re.Match[str]) -> str:
        noun, beside = found[1] if found[1] != "one" else "light", found[2]
        if found[1] == "one" and not re.search(r"\b(?:lights?|lamps?)\b", found.string[: found.start()]):
            return found[0]
        turned = [*beside.split(), noun]
        if any(word in rooms for word in turned) or book.find(turned[:1], 0, (Kind.AREA, Kind.FLOOR)):
            return found[0]
        hits = [*book.find(turned, 0, (Kind.DEVICE,))[:1], *in_part(turned).values()]
        if any(hit.end == len(turned) and len(hit.ids) == 1 for hit in hits):
            return f"{beside} {noun}"
        unknown = noun in _ONE_OF_A_ROOM and beside in _FURNITURE and beside not in book.words
        return noun if unknown else found[0]  # "the fan over the cooker": the only one there, or it is asked which

    return _BESIDE_FURNITURE.sub(named, spoken)
