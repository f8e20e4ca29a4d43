"""The words of an English sentence about the home as wishes: by its tables, cut where two commands meet.

Names and places are found first (home_chunks.py), then hassil matches what is left against home_en.toml, or the
words alone tell it (home_loose.py). Whoever calls decides which words of a sentence are tried, and how far.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from importlib.resources import files
from typing import Any

from perslm_runtime.home_choices import chosen
from perslm_runtime.home_chunks import BREAK, Chunked, chunk
from perslm_runtime.home_cuts import cuts, moved, stray_places, within
from perslm_runtime.home_loose import LooseSentences
from perslm_runtime.home_meant import but_kept, meant, sensible, wish_of
from perslm_runtime.home_names import Hit, NameBook
from perslm_runtime.home_polite import WHY, without_politeness
from perslm_runtime.home_vocabulary import Vocabulary, longest, phrases
from perslm_runtime.home_whole import is_having, valued_alike, with_percent
from perslm_runtime.home_wish import Target, Wish
from perslm_runtime.intents import Sentences
from perslm_runtime.sentence_layer import EMPTY, Layer, compiled
from perslm_runtime.time_words import words_of

_MOST_PARTS = 4
_SCENES = (["scene"], ["mode"], ["routine"])
_IT = (
    *("it", "them", "that", "this", "those", "these", "that one", "this one", "these ones", "those ones"),
    "same one",
)
_Tried = tuple[Wish | None, list[str], Chunked | None]


def paused(spoken: str) -> list[str]:
    """The words of a sentence with a `BREAK` for each comma between them."""
    words: list[str] = []
    for part in re.split(r",(?!\d)", spoken):
        words += [BREAK] * bool(words) + words_of(part)
    return words


class HomeParts:
    """Our tables of sentences about the home, and every wish that words are."""

    def __init__(self, layer: Layer = EMPTY) -> None:
        self.table = tomllib.loads(files("perslm_runtime").joinpath("home_en.toml").read_text(encoding="utf-8"))
        table = self.table
        self.known = Vocabulary(table)
        self.fillers = frozenset(table["fillers"])
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
        self.sentences = Sentences(tables[2], table["rules"], self._static, over=over)
        self.loose = LooseSentences(table)
        self._tried: dict[tuple[object, ...], _Tried] = {}
        self._carried = phrases(dict.fromkeys(table["carried"], True))
        self._begin = frozenset(table["words"]["begin"].split())
        self.grammar = self.sentences.words | {"and", "the", "in", "room"} | self.fillers

    def forget(self) -> None:
        """Begin with another sentence: what was tried of the last one is of no use."""
        self._tried.clear()

    def readings(self, spoken: str) -> Iterator[list[str]]:
        """The words of a sentence, as they are and in a few other ways that they may be meant."""
        plain = self.words(spoken, pauses=True)
        yield plain
        for told in WHY:  # "I'm cold, turn on the heating": why it is wanted says nothing of what
            if (kept := told.sub(" ", spoken)) != spoken:
                yield self.words(kept.replace(",", " "))
        if "," in spoken or ";" in spoken or "." in spoken.strip()[:-1]:
            cut = re.sub(r"[,;.!?](?=\s)", " and ", spoken)
            cut = re.sub(r"\band\s+(and|then)\b", "and", cut)
            yield self.words(cut)
        misheard = " ".join(plain)
        for pattern, right in self._misheard:
            misheard = pattern.sub(right, misheard)
        if misheard != " ".join(plain):
            yield misheard.split()

    def words(self, spoken: str, *, pauses: bool = False) -> list[str]:
        """The words without hesitation and courtesy; with `pauses` a `BREAK` stands for each comma."""
        said = paused(spoken) if pauses else words_of(spoken)
        words = [word for word in said if word not in self._hesitation or word == "like"]
        return self._polite(words)

    def _polite(self, words: list[str]) -> list[str]:
        """The words without courtesies and pauses at their ends."""
        left = 0
        while left != (left := len(words)):
            plain = without_politeness(words, self._before, self._after)
            words = words if plain[:1] in _SCENES else plain  # "good night scene"
            start = words[:1] == [BREAK]
            words = words[start : len(words) - (len(words) > 1 and words[-1] == BREAK)]
        return words

    # From words to wishes

    def parts(
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
                self._polite(words[:start]),
                book,
                within(repaired, 0, start),
                loose=loose,
            )
            if left is None or left.name in ("fragment", "yes", "no", "choose") or is_having(left):
                continue
            behind = self._polite(words[end:])
            rest = self.parts(behind, book, moved(repaired, end), depth + 1, loose=loose)
            if not rest and (begun := self._begun(words[:start])):  # "make sure this is off and that is closed"
                rest = self.parts([*begun, *behind], book, {}, depth + 1, loose=loose)
            if not rest:
                continue
            if rest[0].name == "pct_only":  # "open the blinds a third, like thirty percent"
                if (valued := with_percent(left, rest[0])) is None:
                    continue
                return (valued, *rest[1:])
            rest = (valued_alike(left, rest[0], behind, self.verbs, book.domains), *rest[1:])
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
        if wish is not None or not loose or chunked is None or chunked.paused:  # a comma is not nothing
            return wish
        return self._by_words(said, chunked)

    def _by_table(self, words: list[str], book: NameBook, repaired: Mapping[int, Hit]) -> _Tried:
        """The wish by a sentence of the table; else the words with marks, for who reads them without it."""
        plain = [word for word in words if word not in self.fillers and word != BREAK]
        if (bare := next(self._bare.match(" ".join(plain), {}), None)) is not None:
            return Wish(bare.intent), plain, None  # whatever is called "Yes" in this house
        chunked = chunk(words, self.known, book, repaired)
        said = [word for word in chunked.words if word not in self.fillers]
        if (choice := chosen(chunked, self.fillers)) is not None:
            return choice, said, None
        lists = chunked.lists()
        if (found := next(self._first.match(" ".join(said), lists), None)) is not None:
            return wish_of(found, chunked), said, None
        for text, place in stray_places([word for word in said if word not in self._kept_back], chunked):
            for found in self.sentences.match(text, lists):
                wish = wish_of(found, chunked)
                if wish is not None and sensible(wish, book.domains):
                    wish = wish if place is None or wish.place is not None else replace(wish, place=place)
                    return wish, said, None
        return None, said, chunked

    def _by_words(self, said: list[str], chunked: Chunked) -> Wish | None:
        """What the words alone say, at last without those that mean nothing beside a name."""
        plain = [word for word in said if word not in self._kept_back]
        if (asked := self.loose.question(chunked.words, chunked)) is not None:
            return asked
        wish = self.loose.command(said, chunked) or self.loose.command(plain, chunked)
        return None if wish is None else meant(wish, chunked.words, chunked)

    @cached_property
    def verbs(self) -> frozenset[str]:
        """Words by which something is commanded or asked."""
        return frozenset(self.table["words"]["commands"].split())
