"""Whose thing is meant: "turn on Cathal's light and open his blind" is of Cathal's blind. English, pure.

Only where something of the home is called after that person, and nobody else was named in between.
"""

from __future__ import annotations

import re

from perslm_runtime.home_names import Kind, NameBook

_OWNER = re.compile(r"^(\w+)'s? ", re.IGNORECASE)
_THEIRS = re.compile(r"\b(?:his|her|their) (?=(?!please|now|too|would|will|could|when|if|so|and)(\w+)\b)")
_WHOSE = re.compile(r"\b(\w+)'s (\w+)\b")
_WHOSE_TWO = re.compile(r"\b(\w+)'s (\w+ \w+)\b")
_MINE = re.compile(r"(?:\b\w+'s|\b(?:every|all the|each)) (?P<thing>\w+)\b(?P<between>(?:(?!\w+'s ).)*?)\bmine\b")
_THINGS = (Kind.DEVICE, Kind.AREA)


def _is_only_room(found: re.Match[str], book: NameBook) -> bool:
    """ "Maisie's nursery", where only a nursery is known."""
    whole = book.find([f"{found[1]}'s", found[2]], 0)
    return not whole and any(hit.end == 1 for hit in book.find([found[2]], 0, (Kind.AREA,)))


def _is_only_thing(found: re.Match[str], book: NameBook) -> bool:
    """ "Ellie's night light", where nothing is called after Ellie and one thing is a night light."""
    if book.find([f"{found[1]}'s"], 0) or book.words & {found[1], f"{found[1]}'s", f"{found[1]}s"}:
        return False
    hits = [hit for hit in book.find(found[2].split(), 0, (Kind.DEVICE,)) if hit.end == 2]
    return len(hits) == 1 and len(hits[0].ids) == 1


def with_owners(spoken: str, book: NameBook) -> str:
    """The sentence (lower case, written out) with "Cathal's" for "his", where he has such a thing.

    "Mine" is the kind of thing that was named with somebody's before: "Ann's lamp and mine" is "my lamp".
    """
    spoken = _WHOSE.sub(lambda found: found[2] if _is_only_room(found, book) else found[0], spoken)
    spoken = _WHOSE_TWO.sub(lambda found: found[2] if _is_only_thing(found, book) else found[0], spoken)
    spoken = _MINE.sub(lambda found: f"{found[0].removesuffix('mine')}my {found['thing']}", spoken)
    if _THEIRS.search(spoken) is None:
        return spoken
    owners = {found[1].lower() for entry in book.entries if (found := _OWNER.match(entry.name))}
    named = [found for found in re.finditer(r"\b(\w+?)(?:'s)?(?!\w)", spoken) if found[1] in owners]

    def owned(found: re.Match[str]) -> str:
        before = [one[1] for one in named if one.end() <= found.start()]
        if not before:
            return found[0]
        whose = f"{before[-1]}'s"
        return f"{whose} " if book.find([whose, found[1]], 0, _THINGS) else found[0]

    return _THEIRS.sub(owned, spoken)
