"""Whether a sentence is too like one that the student is measured on: such a one is never trained on.

Sentences are compared as sets of words, with placeholders (<the>, <room>, <n>) as words of their own, so what
differs only in a device, a number or the order of its words is the same sentence.
"""

from __future__ import annotations

import re
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


@cache
def _held_out() -> dict[str, list[frozenset[str]]]:
    """The held-out sentences by each of their words."""
    found: dict[str, list[frozenset[str]]] = {}
    for kind, blocks in data("test").items():
        if kind in ("rooms", "devices"):
            continue
        for block in blocks.values():
            for line in lines(block):
                words = words_of(line.partition(" => ")[0].partition(" | ")[0])
                if len(words) >= _FEWEST_WORDS:
                    for word in words:
                        found.setdefault(word, []).append(words)
    return found


@cache
def is_held_out(text: str) -> bool:
    """Whether `text`, with its placeholders, is too like a sentence of the test file."""
    words = words_of(text)
    return any(likeness(words, other) >= TOO_LIKE for word in words for other in _held_out().get(word, ()))
