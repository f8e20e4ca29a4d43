"""Where two commands in one sentence may meet, and what was repaired in each half. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from perslm_runtime.home_names import Hit

_CUTS = (
    ("and", "then", "also"),
    ("and", "also"),
    ("and", "then"),
    ("and",),
    ("then",),
    ("after", "that"),
    ("but",),
    ("while",),
    ("plus",),
)


def cuts(words: Sequence[str], begin: frozenset[str]) -> Iterable[tuple[int, int]]:
    """Where two commands may meet: (end of the first, start of the second, maybe with one of `begin`)."""
    at = 1
    while at < len(words) - 1:
        length = next((len(cut) for cut in _CUTS if tuple(words[at : at + len(cut)]) == cut), 0)
        if length:
            yield at, at + length
            at += length
            continue
        if words[at] in begin:
            yield at, at
        at += 1


def within(repaired: Mapping[int, Hit], start: int, end: int) -> dict[int, Hit]:
    """What was repaired in words `start` to `end`."""
    return {at: hit for at, hit in repaired.items() if start <= at and hit.end <= end}


def moved(repaired: Mapping[int, Hit], by: int) -> dict[int, Hit]:
    """What was repaired behind the first `by` words, counted from there."""
    return {at - by: replace(hit, end=hit.end - by) for at, hit in repaired.items() if at >= by}
