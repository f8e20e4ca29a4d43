"""Sentences about the home, in English, as wishes: what is wanted, of which things, all of it or None.

First the names and places are found (home_chunks.py), then hassil matches what is left against home_en.toml. Two
commands in one sentence are cut apart where each fits by itself. A name that was not understood exactly is
repaired only in a sentence that fits otherwise. Knows no device.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from typing import Any

from perslm_runtime.home_chunks import Chunked, chunk
from perslm_runtime.home_clauses import shortened, spared, spelled_out
from perslm_runtime.home_corrections import corrected, halves
from perslm_runtime.home_cuts import cuts, moved, stray_places, within
from perslm_runtime.home_hints import hinted
from perslm_runtime.home_loose import LooseSentences
from perslm_runtime.home_meant import but_kept, meant, sensible, wish_of
from perslm_runtime.home_names import Hit, Kind, NameBook
from perslm_runtime.home_partial import PartNames
from perslm_runtime.home_polite import WHY, without_courtesy, without_politeness, written_out
from perslm_runtime.home_requests import asked, at_a_time, may_be_left, plainly, requests, told_alone
from perslm_runtime.home_strange import Strangers, called, is_about
from perslm_runtime.home_vocabulary import Vocabulary, longest, phrases
from perslm_runtime.home_whole import completed, is_having, is_open, is_scene, is_whole, set_up, valued_alike
from perslm_runtime.home_wish import Target, Wish
from perslm_runtime.home_wordings import is_called_off, plainer
from perslm_runtime.intents import Sentences
from perslm_runtime.sentence_layer import EMPTY, Layer, compiled
from perslm_runtime.time_words import find, words_of

_LONGEST_WORDS = 40
_MOST_PARTS = 4
_IT = (
    *("it", "them", "that", "this", "those", "these", "that one", "this one", "these ones", "those ones"),
    "same one",
)
_MOST_CALLED = 6
_MOST_READINGS = 10
_BESIDE = frozenset(("to", "on", "in", "at", "one", "it", "that", "make", "percent", "degrees"))
_SKY = re.compile(
    r"\b(?:at|by|after|before|until|from|around|just (?:after|before)) (?:the )?"
    r"(?:sunset|sunrise|sundown|dusk|dawn|nightfall|noon|midday|midnight|bedtime|lunchtime|dinner time)\b"
)
_NOT_LATER = frozenset(
    (
        *(
            "fragment",
            "name",
            "move_room",
            "scene",
            "value_of",
            "is_state",
            "which",
            "how_many",
            "state_of",
            "list",
        ),
        *("temperature", "humidity", "illuminance", "setpoint", "brightness_of", "volume_of", "color_of"),
        *("position_of", "battery_of", "power_of"),
    )
)


_BY = re.compile(
    r"\b(lights?|lamps?|pendants?|spots|blinds?|curtains?|shutters?|plug|fan|speaker|heater|radiator|sensor|camera)"
    r" (?:that is |that are )?(?:over|above|by|near|beside|behind|under|next to|at) the (\w+)\b"
)


_Tried = tuple[Wish | None, list[str], Chunked | None]


class HomeSentences:
    """Our English sentences about the home. One recognition takes 1 to 5 ms on a PC."""

    def __init__(self, layer: Layer = EMPTY) -> None:
        self._table = tomllib.loads(files("perslm_runtime").joinpath("home_en.toml").read_text(encoding="utf-8"))
        table = self._table
        self._known = Vocabulary(table)
        self._fillers = frozenset(table["fillers"])
        self._kept_back = frozenset(table["kept_back"])
        self._hesitation = frozenset(table["hesitation"])
        self._before = tuple(
            sorted((tuple(one.split()) for one in table["politeness_before"]), key=len, reverse=True)
        )
        self._after = tuple(
            sorted((tuple(one.split()) for one in table["politeness_after"]), key=len, reverse=True)
        )
        self._misheard = [
            (re.compile(rf"\b{re.escape(wrong)}\b"), right) for wrong, right in table["misheard"].items()
        ]
        self._static: dict[str, Mapping[str, Any]] = {
            "it": {word: Target(it=True, said=word) for word in _IT},
            "c": table["colors"],
            "k": table["whites"],
            "s": table["states"],
            "m": table["modes"],
        }
        apart = {"yes": 0, "no": 0, "choose": 0, "undo": 1, "do_again": 1}
        tables: list[list[Any]] = [[], [], []]
        for one in table["intent"]:
            tables[apart.get(one["name"], 2)].append(one)
        self._bare, self._first = (Sentences(one, table["rules"], self._static) for one in tables[:2])
        over = compiled(layer.home, layer, table)
        self._all = Sentences(tables[2], table["rules"], self._static, over=over)
        self._loose = LooseSentences(table)
        self._tried: dict[tuple[object, ...], _Tried] = {}
        self._parts_of: tuple[NameBook, PartNames] | None = None
        self._carried = phrases(dict.fromkeys(table["carried"], True))
        self._begin = frozenset(table["words"]["begin"].split())
        self._grammar = self._all.words | {"and", "the", "in", "room"} | self._fillers
        self._strangers = Strangers(table, self._known, frozenset(self._grammar))

    def recognize(self, text: str, book: NameBook) -> tuple[Wish, ...]:
        """Every wish of a sentence in order; none where it does not fit as a whole."""
        self._tried.clear()
        if (whole := asked(text)) is not None:  # "front door locked?" locks nothing, whatever else it fits
            found = self.recognize(whole, book)
            return found if all(wish.name in _NOT_LATER for wish in found) else ()
        spoken = self._spoken(text)
        if at_a_time(spoken) or is_called_off(spoken):
            return ()
        found = tuple(set_up(wish, book.domains) for wish in self._recognized(spoken, book))
        if not is_open(found):
            return found
        return completed(found, chunk(self._words(spoken.replace(",", " ")), self._known, book))

    def _recognized(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        spoken = spared(spoken)
        spoken = _BY.sub(lambda found: self._by_furniture(found, book), spoken)
        if (both := halves(spoken)) is not None and (found := self._corrected(*both, book)):
            return found
        readings = [words for words in self._readings(spoken) if 0 < len(words) <= _LONGEST_WORDS]
        for loose in (False, True):
            for words in readings:
                if found := self._parts(words, book, {}, loose=loose):
                    return found
        ways = (self._of_it, self._behind, self._shortened, self._requested)
        if found := next(filter(None, (way(spoken, book) for way in ways)), ()):
            return found
        for clause in (spoken.replace(",", " "), *told_alone(spoken)):
            if (hint := hinted(chunk(self._words(clause), self._known, book))) is not None:
                return (hint,)
        for words in readings:
            for repaired in self._repairs(words, book):
                if found := self._parts(words, book, repaired):
                    return found
        return ()

    def _corrected(self, first: str, second: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted after all, where somebody takes back a part of what was said."""
        before = self.recognize(first, book)
        if len(before) != 1 or not before[0].targets:
            return ()
        words = self._words(second.replace(",", " "))
        chunked = chunk(words, self._known, book)
        named = [target for targets in chunked.targets.values() for target in targets]
        values = [value for one in chunked.values.values() for value in one.values()]
        color = next((self._table["colors"][word] for word in words if word in self._table["colors"]), "")
        marks = {*chunked.targets, *chunked.places, *(mark for one in chunked.values.values() for mark in one)}
        rest = {
            word for word in chunked.words if word not in marks and word not in self._fillers and word != color
        }
        whole = self.recognize(second, book)
        if not named and chunked.places:
            named = list(chunked.places.values())
        wish = corrected(before[0], whole, named, values[0] if len(values) == 1 else None, color, " ".join(words))
        known = bool(whole) or not rest - _BESIDE or (wish is not None and wish.name != before[0].name)
        return (wish,) if wish is not None and known else ()

    def _shortened(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted in a sentence without what stands around it, its names said exactly or else in part."""
        words_said = {*words_of(spoken)}
        if self._loose.words.isdisjoint(words_said) and self._all.words.isdisjoint(words_said):
            return ()

        def is_known(word: str) -> bool:
            return (
                word in book.words
                or word in self._table["colors"]
                or word in self._grammar
                or word in self._known.noun_words
            )

        texts = list(shortened(spoken, is_known))
        # A scene may be called so.
        scenes = [words_of(text) for text in texts if text.endswith("night") or "good " in text]
        whole, *shorter = (self._words(text.replace(",", " ")) for text in (spoken, *texts))
        ways = dict.fromkeys(map(tuple, (whole, words_of(spoken), *scenes, *shorter)))
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
                    found = self._parts(said, book, repaired, loose=loose)
                    if found and all(is_whole(wish) or is_scene(wish, book.domains) for wish in found):
                        return found
        return ()

    def _in_part(self, words: list[str], book: NameBook) -> dict[int, Hit]:
        """The names that were said in part or in other words, by where they begin."""
        if self._parts_of is None or self._parts_of[0] is not book:
            self._parts_of = (
                book,
                PartNames(book.entries, self._grammar | self._known.noun_words | self._loose.words),
            )
        hits: dict[int, Hit] = {}
        at = 0
        while at < len(words):
            hit, said = self._parts_of[1].at(words, at), book.find(words, at)
            if hit is not None and not (said and said[0].end >= hit.end):
                hits[at] = hit
                at = hit.end
                continue
            at = said[0].end if said else at + 1
        return hits

    def _of_it(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """ "The fountain is still running, turn it off": what is wanted of the one thing that was told of."""
        told, comma, wanted = spoken.partition(",")
        if not comma or self._loose.denies(told.split()) or not may_be_left(told):
            return ()
        found = self._parts(self._words(wanted.replace(",", " ")), book, {})
        about = [
            target for named in chunk(self._words(told), self._known, book).targets.values() for target in named
        ]
        if len(found) != 1 or len(about) != 1 or not all(target.it for target in found[0].targets):
            return ()
        return (replace(found[0], targets=tuple(about)),) if found[0].targets else ()

    def _behind(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is wanted behind a few words to somebody: "everybody to bed, lights off"."""
        told, comma, wanted = spoken.partition(",")
        words = told.split()
        if not comma or len(words) > _MOST_CALLED or self._loose.denies(words) or not may_be_left(told):
            return ()
        found = self._parts(self._words(wanted.replace(",", " ")), book, {})
        return found if all(wish.targets and wish.name not in _NOT_LATER for wish in found) else ()

    def _requested(self, spoken: str, book: NameBook) -> tuple[Wish, ...]:
        """What is asked for by a clause of the sentence, where all around it only tells."""
        for one in requests(spoken):
            for wanted in dict.fromkeys(plainly(without_courtesy(one.wanted))):
                words = self._words(wanted.replace(",", " "))
                if not 0 < len(words) <= _LONGEST_WORDS:
                    continue
                found = self._parts(words, book, {}) or self._parts(words, book, {}, loose=True)
                found = found or self._shortened(wanted, book)
                if found and all(is_whole(wish) or is_scene(wish, book.domains) for wish in found):
                    return found
        return ()

    def _by_furniture(self, found: re.Match[str], book: NameBook) -> str:
        """ "The light over the workbench" as "the workbench light", where a device is called so in part."""
        noun, beside = found[1], found[2]
        turned = [*beside.split(), noun]
        if any(word in self._known.rooms for word in turned) or book.find(turned[:1], 0, (Kind.AREA, Kind.FLOOR)):
            return found[0]
        hits = [*book.find(turned, 0, (Kind.DEVICE,))[:1], *self._in_part(turned, book).values()]
        return (
            f"{beside} {noun}" if any(hit.end == len(turned) and len(hit.ids) == 1 for hit in hits) else found[0]
        )

    def later(self, text: str, book: NameBook) -> bool:
        """Whether it would be a command but for a time ("in ten minutes", "at seven"): nothing is done then."""
        self._tried.clear()
        spoken = self._spoken(text).replace(",", " ")
        words = self._words(spoken)
        if (now := _SKY.sub(" ", spoken)) != spoken:
            found = self._parts(self._words(now), book, {}, loose=True)
            return bool(found) and all(wish.targets and wish.name not in _NOT_LATER for wish in found)
        spans = find(words)
        if not spans or len(words) > _LONGEST_WORDS:
            return False
        one = spans[0]
        lead = one.start > 0 and words[one.start - 1] in ("in", "for", "at", "after", "by", "until", "on")
        for start in (one.start, *([one.start - 1] if lead else [])):
            found = self._parts([*words[:start], *words[one.end :]], book, {}, loose=True)
            if found and all(wish.targets and wish.name not in _NOT_LATER for wish in found):
                return True
        return False

    def strange(self, text: str, book: NameBook) -> str:
        """The thing or room that it is about and that nothing of the home is; "" where there is none."""
        self._tried.clear()
        for words in self._readings(self._spoken(asked(text) or text)):
            for hits, switched in self._strangers.readings(words, book):
                found = self._parts(words, book, hits) or self._parts(words, book, hits, loose=True)
                if is_about(found, switched=switched):
                    return called(words, hits)
        return ""

    # From text to words

    def _spoken(self, text: str) -> str:
        return without_courtesy(plainer(written_out(text)))

    def _readings(self, spoken: str) -> Iterator[list[str]]:
        plain = self._words(spoken.replace(",", " "))
        yield plain
        for told in WHY:  # "I'm cold, turn on the heating": why it is wanted says nothing of what
            if (kept := told.sub(" ", spoken)) != spoken:
                yield self._words(kept.replace(",", " "))
        if "," in spoken or ";" in spoken or "." in spoken.strip()[:-1]:
            cut = re.sub(r"[,;.!?](?=\s)", " and ", spoken)
            cut = re.sub(r"\band\s+(and|then)\b", "and", cut)
            yield self._words(cut)
        misheard = " ".join(plain)
        for pattern, right in self._misheard:
            misheard = pattern.sub(right, misheard)
        if misheard != " ".join(plain):
            yield misheard.split()

    def _words(self, spoken: str) -> list[str]:
        words = [word for word in words_of(spoken) if word not in self._hesitation or word == "like"]
        return without_politeness(words, self._before, self._after)

    # From words to wishes

    def _parts(
        self, words: list[str], book: NameBook, repaired: Mapping[int, Hit], depth: int = 0, *, loose: bool = False
    ) -> tuple[Wish, ...]:
        """The wishes of the words, cut where each part fits; () where some part does not."""
        whole = self._one(words, book, repaired, loose=loose)
        if whole is not None:
            return (whole,)
        if depth >= _MOST_PARTS:
            return ()
        for start, end in cuts(words, self._begin):
            left = self._one(
                without_politeness(words[:start], self._before, self._after),
                book,
                within(repaired, 0, start),
                loose=loose,
            )
            if left is None or left.name in ("fragment", "yes", "no", "choose") or is_having(left):
                continue
            behind = without_politeness(words[end:], self._before, self._after)
            rest = self._parts(behind, book, moved(repaired, end), depth + 1, loose=loose)
            if not rest and (begun := self._begun(words[:start])):  # "make sure this is off and that is closed"
                rest = self._parts([*begun, *behind], book, {}, depth + 1, loose=loose)
            if not rest:
                continue
            rest = (valued_alike(left, rest[0], behind, self._verbs), *rest[1:])
            if (kept := but_kept(left, behind, rest)) is not None:
                return kept
            if (
                rest[0].name == "fragment"
            ):  # "turn off the light in the hall and the one upstairs": the same with it
                rest = (
                    replace(left, targets=rest[0].targets or left.targets, place=rest[0].place or left.place),
                    *rest[1:],
                )
            return (left, *rest)
        return ()

    def _begun(self, words: list[str]) -> list[str]:
        """How a sentence begins that holds for what comes after its "and" as well."""
        found = longest(self._carried, words, 0)
        return words[: found[1]] if found else []

    def _one(
        self, words: list[str], book: NameBook, repaired: Mapping[int, Hit], *, loose: bool = False
    ) -> Wish | None:
        if not words:
            return None
        key = (tuple(words), *((at, hit.end, hit.ids) for at, hit in repaired.items()))
        if (tried := self._tried.get(key)) is None:  # the same parts come up in every reading of a sentence
            tried = self._tried[key] = self._by_table(words, book, repaired)
        wish, said, chunked = tried
        return self._by_words(said, chunked) if wish is None and loose and chunked is not None else wish

    def _by_table(self, words: list[str], book: NameBook, repaired: Mapping[int, Hit]) -> _Tried:
        """The wish by a sentence of the table; else the words with marks, for who reads them without it."""
        plain = [word for word in words if word not in self._fillers]
        if (bare := next(self._bare.match(" ".join(plain), {}), None)) is not None:
            return Wish(bare.intent), plain, None  # whatever is called "Yes" in this house
        chunked = chunk(words, self._known, book, repaired)
        said = [word for word in chunked.words if word not in self._fillers]
        lists = chunked.lists()
        if (found := next(self._first.match(" ".join(said), lists), None)) is not None:
            return wish_of(found, chunked), said, None
        for text, place in stray_places([word for word in said if word not in self._kept_back], chunked):
            for found in self._all.match(text, lists):
                wish = wish_of(found, chunked)
                if wish is not None and sensible(wish, book.domains):
                    wish = wish if place is None or wish.place is not None else replace(wish, place=place)
                    return wish, said, None
        return None, said, chunked

    def _by_words(self, said: list[str], chunked: Chunked) -> Wish | None:
        """What the words alone say, at last without those that mean nothing beside a name."""
        plain = [word for word in said if word not in self._kept_back]
        if (asked := self._loose.question(chunked.words, chunked)) is not None:
            return asked
        wish = self._loose.command(said, chunked) or self._loose.command(plain, chunked)
        return None if wish is None else meant(wish, chunked.words, chunked)

    # Names that were not understood

    def _repairs(self, words: list[str], book: NameBook) -> Iterator[dict[int, Hit]]:
        """What unknown words may have been meant to be, the most likely first."""
        known = self._grammar | self._known.noun_words | self._known.rooms
        unknown = [
            at
            for at, word in enumerate(words)
            if word not in known and word not in book.words and not word[0].isdigit()
        ]
        if len(unknown) > 3 or len(words) > 14 or not (set(words) & self._verbs):
            return
        spans: list[tuple[float, int, Hit]] = []
        nouns = {at for at, word in enumerate(words) if word in self._known.noun_words}  # "front door": no room
        anchors = unknown or [
            at for at, word in enumerate(words) if word in book.words and word not in self._all.words
        ]
        for start in range(len(words)):
            for end in range(start + 1, min(len(words), start + 5) + 1):
                inside = set(range(start, end))
                if not inside & set(anchors) or words[start] in self._fillers or words[end - 1] in self._fillers:
                    continue
                if any(words[at] in self._verbs for at in inside):
                    continue
                hit = book.repair(words, start, end, (Kind.DEVICE, Kind.AREA))
                if hit is not None and (hit.kind is not Kind.AREA or inside.isdisjoint(nouns)):
                    spans.append((hit.alike + 0.02 * (end - start), start, hit))
        spans.sort(key=lambda one: one[0], reverse=True)
        for _, start, hit in spans[:3]:
            yield {start: hit}
        if len(spans) > 1:
            best = spans[0]
            apart = [one for one in spans[1:] if one[1] >= best[2].end or one[2].end <= best[1]]
            if apart:
                yield {best[1]: best[2], apart[0][1]: apart[0][2]}

    @cached_property
    def _verbs(self) -> frozenset[str]:
        return frozenset(self._table["words"]["commands"].split())
