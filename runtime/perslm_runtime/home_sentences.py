"""Sentences about the home, in English, as wishes: what is wanted, of which things, all of it or None.

First the names and places are found (home_chunks.py), then hassil matches what is left against home_en.toml. Two
commands in one sentence are cut apart where each fits by itself. A name that was not understood exactly is
repaired only in a sentence that fits otherwise. Knows no device.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from perslm_runtime.home_amended import anew
from perslm_runtime.home_chain import chained
from perslm_runtime.home_chunks import BREAK, chunk
from perslm_runtime.home_clauses import shortened, spared, spelled_out, without_reason
from perslm_runtime.home_corrections import PERCENT_BEHIND, asks, halves, is_let_be
from perslm_runtime.home_endings import with_ends
from perslm_runtime.home_hints import hinted
from perslm_runtime.home_idioms import plain_verbs, without_idioms
from perslm_runtime.home_later import Later, by_the_clock, is_later, is_stated, of_the_sun, planned, timed
from perslm_runtime.home_names import Hit, Kind, NameBook, Thing
from perslm_runtime.home_owners import with_owners
from perslm_runtime.home_partial import PartNames, by_furniture
from perslm_runtime.home_parts import HomeParts, paused
from perslm_runtime.home_pauses import paused_ways, rooms_of, things_of
from perslm_runtime.home_played import played
from perslm_runtime.home_polite import without_courtesy, written_out
from perslm_runtime.home_questions import plain_question
from perslm_runtime.home_refused import is_no_command, is_refused
from perslm_runtime.home_repairs import repairs
from perslm_runtime.home_requests import (
    VERBS,
    asked,
    is_at_an_hour,
    is_in_state,
    may_be_left,
    plainly,
    requests,
    told_alone,
)
from perslm_runtime.home_roundabout import straight
from perslm_runtime.home_strange import Strangers, called, is_about
from perslm_runtime.home_told import as_told
from perslm_runtime.home_undressed import undressed
from perslm_runtime.home_unpunctuated import before_requests, set_apart
from perslm_runtime.home_whole import (
    TELLING,
    after_all,
    completed,
    is_alone,
    is_command,
    is_named,
    is_of_scene,
    is_open,
    is_question,
    is_scene,
    is_whole,
    said_once,
    set_up,
    with_percent,
)
from perslm_runtime.home_wish import Target, Wish
from perslm_runtime.home_wordings import plainer
from perslm_runtime.sentence_layer import EMPTY, Layer
from perslm_runtime.time_words import words_of

_LONGEST_WORDS = 40
_MOST_CALLED, _MOST_READINGS, _MOST_REPAIRED = 6, 10, 4
_HALF = frozenset(("fragment", "yes", "no", "choose", "value_of"))
_WORKED = (["open"], ["close"], ["shut"], ["lock"], ["unlock"], ["turn"], ["switch"])
_PLAYED = (["song"], ["track"], ["music"])
_LEFT_ALONE = re.compile(
    r"^([^,;.]+),? (?:but |and |just |only )*(?:leave|keep|do not touch|not touch|except) "
    r"(?:the |my |our )?[^,;.]+$"
)
_SCENE_AROUND = re.compile(
    r"^(?:(?:so|and|then|now|right|okay|it is|let us have) )+| (?:please|now|then|everyone|everybody|for us)$"
)
_AND_TELL = re.compile(
    r"^(.+\w),? and (?:then )?((?:tell me|let me know) (?:if|whether|what|which|how) .+)$", re.IGNORECASE
)
_SECOND = re.compile(rf"^(.+?\w),? and ((?:{VERBS}) .+)$")
_PAUSES = re.compile(r"[,;.]+ ")


class HomeSentences:
    """Our English sentences about the home. One recognition takes 1 to 5 ms on a PC."""

    def __init__(self, layer: Layer = EMPTY) -> None:
        self._read = HomeParts(layer)
        self._strangers = Strangers(self._read.table, self._read.known, frozenset(self._read.grammar))
        self._parts_of: tuple[NameBook, PartNames] | None = None

    @property
    def table(self) -> Mapping[str, Any]:
        """The sentences and words of home_en.toml."""
        return self._read.table

    def recognize(self, text: str, book: NameBook) -> tuple[Wish, ...]:
        """Every wish of a sentence in order; none where it does not fit as a whole."""
        self._read.forget()
        text = self._undressed(text, book)
        if (whole := asked(text)) is not None:  # "front door locked?" locks nothing, whatever else it fits
            found = self.recognize(whole, book)
            return found if all(wish.name in TELLING for wish in found) else ()
        written = written_out(text)
        if found := self._with_question(text, book) or self._each(written, book):
            return found
        for said in self._ways_said(written, book):
            spoken = self._spoken(said, book)
            if is_let_be(spoken):
                break
            if found := self._wishes(spoken, book):
                return found
        return ()

    def _with_question(self, text: str, book: NameBook) -> tuple[Wish, ...]:
        """ "Turn it on and tell me if the window is open": what is wanted, and what is asked."""
        if (both := _AND_TELL.match(text)) is None:
            return ()
        works, asks = self.recognize(both[1], book), self.recognize(both[2], book)
        of_both = asks and all(is_command(wish, book.domains) for wish in works)
        return (*works, *asks) if works and of_both and all(wish.name in TELLING for wish in asks) else ()

    def _each(self, written: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted of each of several things with a state each; none where one of them is not understood."""
        plain = _PAUSES.sub(" ", written).strip(" .!?")
        found = [self.recognize(one, book) for one in chained(plain, self._things(book), rooms_of(book))]
        works = all(one and all(is_command(wish, book.domains) for wish in one) for one in found)
        return tuple(wish for one in found for wish in one) if works else ()

    def _wishes(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        if is_refused(spoken, book.words):
            return ()
        found = self._recognized(spoken, book)
        if is_question(spoken) and not all(wish.name in TELLING for wish in found):
            return ()  # a question works nothing
        if len(found) > 1 and any(wish.name in ("yes", "no") for wish in found):
            return ()  # somebody takes back what was said, and how is not understood
        found = said_once(set_up(wish, book.domains) for wish in found)
        if is_at_an_hour(spoken) and any(is_of_scene(wish, book.domains) for wish in found):
            return ()  # "movie night at eight" is no percentage
        if not is_open(found):
            return found
        return completed(found, chunk(self._read.words(spoken.replace(",", " ")), self._read.known, book))

    def _ways_said(self, written: str, book: NameBook) -> tuple[str, ...]:
        """The sentence with the pauses that it came without, and as it came."""
        said = with_ends(written, book.words)
        alone, paused_said = paused_ways(said, self._things(book), rooms_of(book))
        return tuple(dict.fromkeys((self._undressed(alone, book), paused_said, said)))

    def _things(self, book: NameBook) -> Thing:
        return things_of(book, self._read.known.nouns, self._parts_in(book))

    def _recognized(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        spoken = spared(spoken)
        spoken = by_furniture(spoken, book, self._read.known.rooms, lambda words: self._in_part(words, book))
        ways = (
            *(self._called, self._taken_back, self._valued, self._plainly, self._left_alone, self._told_only),
            *(self._of_it, self._behind, self._shortened, self._requested, self._scene_behind),
            *(self._hinted, self._unpaused, self._repaired),
        )
        return next(filter(None, (way(spoken, book) for way in ways)), ())

    def _called(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """Nothing but the name of a scene, which may begin as a courtesy does: "morning rush"."""
        words = words_of(spoken)
        hits = [hit for hit in book.find(words, 0, (Kind.DEVICE,)) if hit.end == len(words) and len(hit.ids) == 1]
        scene = [hit for hit in hits if book.domains.get(hit.ids[0]) == "scene"]
        return (Wish("fragment", (Target(devices=(scene[0].ids,), said=spoken),)),) if scene else ()

    def _scene_behind(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """Nothing but a scene's name, behind clauses that only tell: "shoes off, coats up, home time please"."""
        told, comma, name = spoken.strip(" .!").rpartition(", ")
        wanted = _SCENE_AROUND.sub("", name) if comma else ""
        apart = all(may_be_left(clause, self._names(book)) for clause in told.split(", ")) if wanted else False
        return self._called(wanted, book) if apart else ()

    def _taken_back(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        both = halves(spoken)
        if both is None:
            return ()
        parts = (*without_reason(both[1]), *(one.wanted for one in requests(both[1], self._names(book))))
        seconds = dict.fromkeys((both[1], *(one.strip(" ,;.!?-") for one in parts)))
        words_first = asks(both[0]) or both[1].endswith("'s") or " it " in f" {both[1]} "
        ways = (self._said_anew, self._corrected) if words_first else (self._corrected, self._said_anew)
        found = next(filter(None, (way(both[0], second, book) for way in ways for second in seconds)), ())
        if not found and (two := _SECOND.match(both[0])) is not None:
            kept, after = self.recognize(two[1], book), self._taken_back(f"{two[2]}, no, {both[1]}", book)
            found = (*kept, *after) if kept and after else ()  # "close the blind and turn on the lamp, no, ..."
        return found if not asks(both[0]) or all(wish.name in TELLING for wish in found) else ()

    def _said_anew(self, first: str, second: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted where the words that are taken back give way to others."""
        for text in anew(first, second, self._things(book)):
            found = self._recognized(self._spoken(text, book), book)
            if len(found) == 1 and (found[0].name in TELLING if asks(first) else found[0].name not in _HALF):
                return found
        return ()

    def _plainly(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        readings = self._readings(spoken)
        tried = (self._read.parts(words, book, {}, loose=loose) for loose in (False, True) for words in readings)
        return next(filter(None, tried), ())

    def _unpaused(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted where a pause has to be put before it: some recognizers write no comma."""
        for text in before_requests(spoken):
            if found := self._of_it(text, book) or self._behind(text, book) or self._requested(text, book):
                return found
        return ()

    def _hinted(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        for clause in told_alone(spoken, self._names(book)):
            if hint := self._told_only(clause, book):
                return hint
            found = self._read.parts(self._read.words(clause), book, {})
            if len(found) == 1 and is_scene(found[0], book.domains):
                return found  # "it's film night, everybody sit down"
        return ()

    def _told_only(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """Nothing but how a room is: "too warm in here"."""
        told = chunk(self._read.words(spoken.replace(",", " ")), self._read.known, book)
        hint = hinted(told) or played(told)
        return (hint,) if hint is not None else ()

    def _repaired(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        asked_for = (*plainly(spoken), *(one.wanted for one in requests(spoken, self._names(book))))
        for text in list(dict.fromkeys(asked_for))[:_MOST_REPAIRED]:
            for words in self._readings(text):
                for repaired in repairs(words, book, self._read, self._strangers):
                    if found := self._read.parts(words, book, repaired):
                        return found
        return ()

    def _readings(self, spoken: str) -> list[list[str]]:
        return [words for words in self._read.readings(spoken) if 0 < len(words) <= _LONGEST_WORDS]

    def _corrected(self, first: str, second: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted after all, where somebody takes back a part of what was said."""
        before = self.recognize(first, book)
        if len(before) != 1 or not before[0].targets:
            return ()
        words = self._read.words(second.replace(",", " "))
        told = chunk(words, self._read.known, book, self._in_part(words, book))
        whole = self.recognize(second, book)
        wish = after_all(before[0], whole, words, told, self._read.table["colors"], self._read.fillers)
        return (wish,) if wish is not None else ()

    def _valued(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted to a percentage that is told apart: "on low, like ten percent"."""
        found = PERCENT_BEHIND.match(spoken)
        wishes = self._recognized(found[1], book) if found is not None else ()
        if found is None or len(wishes) != 1 or not wishes[0].targets:
            return ()
        values = chunk(self._read.words(found[2]), self._read.known, book).values.values()
        numbers = [number for marks in values for number in marks.values()]
        valued = with_percent(wishes[0], Wish("pct_only", number=numbers[0])) if len(numbers) == 1 else None
        return (valued,) if valued is not None else ()

    def _left_alone(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """ "Ann's lamp off, but leave Bob's on": of single things nothing is left out."""
        found = _LEFT_ALONE.match(spoken)
        wishes = self._recognized(found[1], book) if found is not None else ()
        single = all(wish.targets for wish in wishes) and all(
            len(target.ids) == 1 and not target.many for wish in wishes for target in wish.targets
        )
        return wishes if single and all(is_whole(wish) for wish in wishes) else ()

    def _shortened(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted in a sentence without what stands around it, its names said exactly or else in part."""
        words_said = {*words_of(spoken)}
        if self._read.loose.words.isdisjoint(words_said) and self._read.sentences.words.isdisjoint(words_said):
            return ()

        def is_known(word: str) -> bool:
            return (
                word in book.words
                or word in self._read.table["colors"]
                or word in self._read.grammar
                or word in self._read.known.noun_words
            )

        def is_name(words: str) -> bool:
            said = words.split()
            return said[0] in self._read.known.noun_words or any(
                hit.end == len(said) for hit in book.find(said, 0)
            )

        texts = list(shortened(spoken, is_known, is_name))
        # A scene may be called so.
        scenes = [words_of(text) for text in texts if text.endswith("night") or "good " in text]
        whole, *shorter = (self._read.words(text, pauses=True) for text in (spoken, *texts))
        ways = dict.fromkeys(map(tuple, (whole, paused(spoken), *scenes, *shorter)))
        readings = [list(words) for words in ways if 0 < len(words) <= _LONGEST_WORDS][:_MOST_READINGS]
        for exactly in (True, False):
            for words in readings:
                said = spelled_out(words, book)
                repaired = {} if exactly else self._in_part(said, book)
                if exactly and said == words and words is readings[0]:
                    continue  # which did not fit before
                if not exactly and not repaired:
                    continue
                for loose in (False, True):
                    found = self._read.parts(said, book, repaired, loose=loose)
                    if found and all(
                        is_whole(wish) or is_scene(wish, book.domains) or is_named(wish) for wish in found
                    ):
                        return found
        return ()

    def _in_part(self, words: list[str], book: NameBook) -> dict[int, Hit]:
        """The names that were said in part or in other words, by where they begin."""
        parts = self._parts_in(book)
        hits: dict[int, Hit] = {}
        at = 0
        while at < len(words):
            hit, said = parts.at(words, at), book.find(words, at)
            several = self._read.known.nouns.get((words[at],), ("", False))[
                1
            ]  # "lights in the kitchen" are no one light
            if hit is not None and not several and not (said and said[0].end >= hit.end):
                hits[at] = hit
                at = hit.end
                continue
            at = said[0].end if said else at + 1
        return hits

    def _parts_in(self, book: NameBook) -> PartNames:
        """The names of a home by their parts."""
        if self._parts_of is None or self._parts_of[0] is not book:
            common = self._read.grammar | self._read.known.noun_words | self._read.loose.words
            self._parts_of = (book, PartNames(book.entries, common, self._read.known.noun_words))
        return self._parts_of[1]

    def _of_it(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """ "The fountain is still running, turn it off": what is wanted of the one thing that was told of."""
        told, comma, wanted = spoken.partition(",")
        if not comma or self._read.loose.denies(told.split()) or not may_be_left(told):
            return ()
        found = self._read.parts(self._read.words(wanted.replace(",", " ")), book, {})
        said = self._read.words(told)
        about = self._named(said, book, {}) or self._named(said, book, self._in_part(said, book))
        if len(found) != 1 or len(about) != 1 or not all(target.it for target in found[0].targets):
            return ()
        places = [one for one in chunk(said, self._read.known, book).places.values() if not one.here]
        if not found[0].targets or len(places) > 1 or (places and found[0].place is not None):
            return ()
        # "That's enough of the attic lights, turn it off": those of the attic.
        return (replace(found[0], targets=tuple(about), place=places[0] if places else found[0].place),)

    def _named(self, words: list[str], book: NameBook, hits: dict[int, Hit]) -> list[Target]:
        named = chunk(words, self._read.known, book, hits).targets.values()
        return [target for targets in named for target in targets]

    def _behind(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted behind a few words to somebody: "everybody to bed, lights off"."""
        told, comma, wanted = spoken.partition(",")
        words = told.split()
        if not comma or len(words) > _MOST_CALLED or self._read.loose.denies(words) or not may_be_left(told):
            return ()
        found = self._read.parts(self._read.words(wanted.replace(",", " ")), book, {})
        return found if all(wish.targets and wish.name not in TELLING for wish in found) else ()

    def _requested(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is asked for by a clause of the sentence, where all around it only tells."""
        for one in requests(spoken, self._names(book)):
            for wanted in dict.fromkeys(plainly(without_courtesy(one.wanted))):
                words = self._read.words(spared(wanted), pauses=True)
                if not 0 < len(words) <= _LONGEST_WORDS:
                    continue
                found = self._read.parts(words, book, {}) or self._read.parts(words, book, {}, loose=True)
                found = found or self._shortened(wanted, book)
                if found and all(is_alone(wish) or is_scene(wish, book.domains) for wish in found):
                    return found
        return ()

    def _names(self, book: NameBook) -> Callable[[str], bool]:
        """What tells whether a clause names something of the home."""

        def names(clause: str) -> bool:
            found = chunk(self._read.words(clause), self._read.known, book)
            named = (target for targets in found.targets.values() for target in targets)
            of_home = (target for target in named if target.said.split()[-1:] not in _PLAYED)
            if found.places or found.values or any(one.ids or one.noun or one.placed for one in of_home):
                return True
            words = words_of(clause)  # "close the garage" is a command of its own, though it names it in part
            return (words[:1] in _WORKED or is_in_state(clause)) and bool(self._in_part(words, book))

        return names

    def later(self, text: str, book: NameBook) -> Later | None:
        """What it would command but for a time ("in ten minutes", "at seven"); None for any other sentence."""
        self._read.forget()
        whole = self._undressed(text, book)
        if asked(whole) is not None:
            return None
        ways = (by_the_clock(self._spoken(said, book)) for said in self._ways_said(written_out(whole), book))
        return next((found for way in ways if (found := self._later(text, way, book)) is not None), None)

    def _later(self, text: str, spoken: str, book: NameBook) -> Later | None:
        if is_no_command(spoken, book.words):
            return None
        parts = (*without_reason(spoken), *(one.wanted for one in requests(spoken, self._names(book))))
        texts = dict.fromkeys((spoken, *(one.strip(" ,;.!?-") for one in parts)))

        def works(command: str) -> bool:
            found = self.recognize(command, book)
            return bool(found) and all(is_command(wish, book.domains) or wish.name == "lock" for wish in found)

        def fits(words: list[str]) -> bool:
            found = self._read.parts(words, book, {}, loose=True) if len(words) <= _LONGEST_WORDS else ()
            return bool(found) and all(wish.targets and wish.name not in TELLING for wish in found)

        if rest := next(filter(None, map(of_the_sun, texts)), ""):
            return Later(sun=True) if works(rest) else None
        ways = () if is_stated(spoken, text) else (timed(paused(one), BREAK) for one in texts)
        if (found := planned(ways, works)) is not None:
            return found
        return Later() if any(is_later(one.replace(",", " "), self._read.words, fits) for one in texts) else None

    def strange(self, text: str, book: NameBook) -> str:
        """The thing or room that it is about and that nothing of the home is; "" where there is none."""
        self._read.forget()
        text = self._undressed(text, book)
        spoken = self._spoken(asked(text) or text, book)
        untimed = (later.command for later, _ in timed(paused(spoken), BREAK))  # "the kettle in half an hour"
        for words in chain.from_iterable(map(self._read.readings, (spoken, *untimed))):
            for hits, switched in self._strangers.readings(words, book):
                found = self._read.parts(words, book, hits) or self._read.parts(words, book, hits, loose=True)
                if is_about(found, switched=switched):
                    return called(words, hits)
        return ""

    # From text to words

    @staticmethod
    def _undressed(text: str, book: NameBook) -> str:
        return undressed(text, lambda words: any(hit.end == len(words) for hit in book.find(words, 0)))

    def _spoken(self, text: str, book: NameBook) -> str:
        said = as_told(with_owners(plain_verbs(written_out(text)), book), book)
        said = without_courtesy(plainer(plain_question(straight(said), book)))
        return set_apart(without_courtesy(without_idioms(said)))
