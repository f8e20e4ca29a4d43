"""The English words by which things of a home are named, as home_en.toml lists them, and how phrases are found.

Pure data for home_chunks.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_UP = re.compile(r"\b(up|upper|first|second|third|top|attic|loft|[1-9])", re.IGNORECASE)
_DOWN = re.compile(r"\b(down|downstairs|ground|lower|main|street|bottom)\b", re.IGNORECASE)
_TOP = re.compile(r"\b(top|attic|loft)", re.IGNORECASE)
LEVELS = {
    ("upstairs",): _UP,
    ("up", "stairs"): _UP,
    ("upper", "floor"): _UP,
    ("first", "floor"): _UP,
    ("top", "floor"): _TOP,
    ("very", "top"): _TOP,
    ("downstairs",): _DOWN,
    ("down", "stairs"): _DOWN,
    ("ground", "floor"): _DOWN,
    ("lower", "floor"): _DOWN,
}
OTHERWISE = {_TOP: _UP}
"""Words for floors, and the names of those that they mean where none is called so: upstairs may be two floors."""


class Vocabulary:
    """One language's words. Sets of single words, and phrases by their first word."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.nouns: dict[tuple[str, ...], tuple[str, bool]] = {}
        """Classes of devices by their words, and whether those are plural."""
        for noun, line in table["nouns"].items():
            for many, words in enumerate(line.split("|")):
                for word in words.split():
                    self.nouns[tuple(word.split("_"))] = (noun, bool(many))
        self.quantities = phrases({one: name for name, lines in table["quantities"].items() for one in lines})
        self.every = phrases({one: name for name, lines in table["everything"].items() for one in lines})
        self.here = phrases({one: name for name, lines in table["places"].items() for one in lines})
        self.levels = phrases(table["levels"])
        long = {one: one for name in ("colors", "whites") for one in table[name] if " " in one}
        self.colors = phrases(long)
        self.left_out = phrases(dict.fromkeys(table["words"]["except"], True))
        sets = {name: frozenset(line.split()) for name, line in table["words"].items() if isinstance(line, str)}
        self.determiners, self.pointing, self.conjunctions = sets["determiners"], sets["pointing"], sets["and"]
        self.prepositions, self.adverbs, self.outside = sets["in"], sets["adverbs"], sets["outside"]
        self.on_places, self.before_on = sets["on_places"], sets["verbs_before_on"]
        self.also_verbs, self.before_verbs = sets["also_verbs"], sets["before_verbs"]
        self.rooms = sets["rooms"]
        """Words for rooms: said, they are that and no other room's name heard wrongly."""
        self.after_nouns, self.not_a_number = sets["after_nouns"], sets["before_one"]
        self.noun_words = {word for words in self.nouns for word in words}


Phrases = dict[str, list[tuple[tuple[str, ...], Any]]]


def phrases(table: Mapping[str, Any]) -> Phrases:
    """Phrases by their first word, the longest first."""
    found: Phrases = {}
    for phrase, value in table.items():
        words = tuple(phrase.split())
        found.setdefault(words[0], []).append((words, value))
    return {first: sorted(lines, key=lambda one: len(one[0]), reverse=True) for first, lines in found.items()}


def longest(phrases: Phrases, words: Sequence[str], at: int) -> tuple[Any, int] | None:
    """(value, end) of the longest phrase at a word."""
    if at >= len(words):
        return None
    for phrase, value in phrases.get(words[at], ()):
        if tuple(words[at : at + len(phrase)]) == phrase:
            return value, at + len(phrase)
    return None
