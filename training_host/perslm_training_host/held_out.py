"""Whether a sentence is too like one that the student is measured on: such a one is never trained on.

Sentences are compared as sets of words, with placeholders (<the>, <room>, <n>) as words of their own, so what
differs only in a device, a number or the order of its words is the same sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

from perslm_training_host.home_made import data
from perslm_training_host.phrases import lines

TOO_LIKE = 0.75
"""Words in common by words in all (Jaccard)."""
_WORD = re.compile(r"<\w+>|[a-z0-9']+")
_FEWEST_WORDS = 3  # "Music." and "Good night." belong to nobody


def words_of(text: str) -> frozenset[str]:
    """The different words and placeholders of a sentence."""
    return frozenset(_WORD.findall(text.lower()))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Words in common by words in all, 0 to 1."""
    return len(one & other) / max(1, len(one | other))


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """How many words each held-out sentence has, and in which sentences a word stands."""

    sizes: tuple[int, ...]
    places: dict[str, list[int]]


@cache
def _held_out() -> _HeldOut:
    sizes: list[int] = []
    places: dict[str, list[int]] = {}
    for kind, blocks in data("test").items():
        if kind in ("rooms", "devices"):
            continue
        for block in blocks.values():
            for line in lines(block):
                words = words_of(line.partition(" => ")[0].partition(" | ")[0])
                if len(words) >= _FEWEST_WORDS:
                    for word in words:
                        places.setdefault(word, []).append(len(sizes))
                    sizes.append(len(words))
    return _HeldOut(tuple(sizes), places)


@cache
def is_held_out(text: str) -> bool:
    """Whether `text`, with its placeholders, is too like a sentence of the test file."""
    words, held_out = words_of(text), _held_out()
    common = Counter(place for word in words for place in held_out.places.get(word, ()))
    return any(both >= TOO_LIKE * (len(words) + held_out.sizes[place] - both) for place, both in common.items())
