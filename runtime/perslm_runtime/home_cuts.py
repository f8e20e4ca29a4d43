"""Where two commands in one sentence may meet, a place apart from them, and what was repaired in each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from perslm_runtime.home_chunks import Chunked
from perslm_runtime.home_names import Hit
from perslm_runtime.home_wish import Target

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


def stray_places(words: list[str], chunked: Chunked) -> Iterator[tuple[str, Target | None]]:
    """The sentence as it is, and without a place at one of its ends: "in the kitchen turn on the light"."""
    yield " ".join(words), None
    if len(words) < 2:
        return
    for at in (0, len(words) - 1):
        place = chunked.places.get(words[at])
        if place is not None:
            yield " ".join(words[:at] + words[at + 1 :]), place
    if not chunked.targets:
        # "turn off upstairs": the place is what is meant
        for at, word in enumerate(words):
            if word in chunked.places:
                mark = f"xtarget{len(chunked.targets)}x"
                chunked.targets[mark] = (chunked.places[word],)
                yield " ".join([*words[:at], mark, *words[at + 1 :]]), None
                return
