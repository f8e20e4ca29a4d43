"""What a sentence is about that nothing of the home is: "the front door" where no door is known. Pure.

Only where the sentence fits with a device, or a room, put in its place. Told by the words: a class of things with
a word before it ("garden gate"), a household appliance, a kind of room, or what is to be turned on or off. Without
this a model was asked, and told of doors that there are none of that they are locked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perslm_runtime.home_names import Hit, Kind, NameBook
from perslm_runtime.home_vocabulary import Vocabulary, phrases
from perslm_runtime.home_wish import Wish

STRANGE = "strange"
"""The id of what nothing of the home is."""

_MOST_BEFORE = 3
_ROOM_OF = ("room", "house")
_SWITCHED = frozenset(("turn_on", "turn_off", "toggle"))
_NOT_ASKED = frozenset(
    ("fragment", "scene", "name", "move_room", "hide", "value_of", "do_again", "which", "list", "power_of")
)
_ANY_ONE = frozenset(("a", "an", "another", "new", "some"))


class Strangers:
    """Words by which one tells that a thing of a house is meant. `grammar` are the words of every sentence."""

    def __init__(self, table: Mapping[str, Any], known: Vocabulary, grammar: frozenset[str]) -> None:
        words = table["words"]
        self._known, self._grammar = known, grammar
        self._things = phrases({one.replace("_", " "): True for one in words["things"].split()})
        self._rooms_known = known.rooms | frozenset(words["other_rooms"].split())
        self._elsewhere = (
            frozenset(words["things"].split()) | frozenset(words["other_rooms"].split())
        ) - known.noun_words
        self._ideas = frozenset(words["ideas"].split())
        self._begin = frozenset(words["commands"].split()) | frozenset(words["begin"].split())
        joints = (known.determiners, known.prepositions, known.conjunctions, known.adverbs, self._begin)
        self._joints = frozenset.union(*joints) | frozenset(table["fillers"]) | frozenset(words["joints"].split())

    def is_thing(self, word: str) -> bool:
        """Whether a word by itself names an appliance or a kind of room that this home may not have."""
        return word in self._elsewhere

    def readings(self, words: Sequence[str], book: NameBook) -> Iterator[tuple[dict[int, Hit], bool]]:
        """Hits by their first word for what strange may be named, and whether it is only switched so."""
        rooms = dict(self._rooms(words, book))
        things = list(self._named(words, book))
        if rooms:
            yield rooms, False
        for at, hit in things:
            inside = {start: one for start, one in rooms.items() if start >= hit.end or one.end <= at}
            yield {**inside, at: hit}, False
        for at, hit in self._switched(words, book):
            yield {at: hit}, True

    def _rooms(self, words: Sequence[str], book: NameBook) -> Iterator[tuple[int, Hit]]:
        """Rooms by their kind: "attic", "guest room", "Tom's room"."""
        for at, word in enumerate(words):
            pair = words[at + 1 : at + 2] and words[at + 1] in _ROOM_OF and word not in self._joints
            if not pair and word not in self._rooms_known:
                continue
            if not book.find(words, at, (Kind.AREA, Kind.DEVICE)):
                yield at, Hit(at + (2 if pair else 1), Kind.AREA, (STRANGE,))

    def _named(self, words: Sequence[str], book: NameBook) -> Iterator[tuple[int, Hit]]:
        """Classes of things with what stands before them, and appliances; the longest first."""
        for at in range(len(words)):
            end, alone = self._thing(words, at), True
            if end == at:
                end, alone = self._noun(words, at), False
            if end == at:
                continue
            first = at
            while first > max(0, at - _MOST_BEFORE) and words[first - 1] not in self._joints:
                first -= 1
            if first and words[first - 1] in _ANY_ONE:
                continue  # "a new front door" is talked of, not worked
            for start in range(first, at + alone):
                if not any(hit.end >= end for hit in book.find(words, start, (Kind.DEVICE,))):
                    yield start, Hit(end, Kind.DEVICE, (STRANGE,))

    def _switched(self, words: Sequence[str], book: NameBook) -> Iterator[tuple[int, Hit]]:
        """What stands alone behind an article: "turn on the fountain"."""
        for at in range(1, len(words)):
            if words[at - 1] not in ("the", "my", "our"):
                continue
            end = at
            while end < min(len(words), at + _MOST_BEFORE) and self._is_open(words[end], book):
                end += 1
            if end > at and words[end - 1] not in self._ideas:
                yield at, Hit(end, Kind.DEVICE, (STRANGE,))

    def _is_open(self, word: str, book: NameBook) -> bool:
        return word not in self._grammar and word not in self._joints and word not in book.words

    def _thing(self, words: Sequence[str], at: int) -> int:
        for phrase, _ in self._things.get(words[at], ()):
            if tuple(words[at : at + len(phrase)]) == phrase:
                return at + len(phrase)
        return at

    def _noun(self, words: Sequence[str], at: int) -> int:
        lengths = (length for length in (3, 2, 1) if tuple(words[at : at + length]) in self._known.nouns)
        return min(len(words), at + next(lengths, 0))


def is_about(found: Sequence[Wish], *, switched: bool) -> bool:
    """Whether the wishes are commands or questions by themselves, one of them about what is strange."""
    if not found or any(wish.name in _NOT_ASKED for wish in found):
        return False
    if switched and not all(wish.name in _SWITCHED for wish in found):
        return False
    return any(
        STRANGE in (*target.ids, *target.areas)
        for wish in found
        for target in (*wish.targets, wish.place)
        if target
    )


def called(words: Sequence[str], hits: Mapping[int, Hit]) -> str:
    """The words of what is strange: the thing, or else the room."""
    at, hit = min(hits.items(), key=lambda one: (one[1].kind is not Kind.DEVICE, one[0]))
    return " ".join(words[at : hit.end])
