"""Words that are said once for two things: "the hall light and heater", "the green lamp and the red one".

Gives the sentence with them said out, where a thing of the home is called so then. English, pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from perslm_runtime.home_names import Thing

_ARTICLES = frozenset(("the", "my", "our", "his", "her", "their"))


_KINDS = frozenset(("lights", "lamps", "blinds", "curtains", "shutters", "heaters", "radiators", "fans"))


def said_out(plain: str, thing: Thing, room: Thing) -> str:
    """The sentence (lower case, written out); `thing` and `room` tell where one ends that begins at a word."""
    words = plain.split()
    if "and" in words and not _KINDS.isdisjoint(words):
        words = _with_kinds(words, thing, room)
    if "one" in words:
        words = _with_ones(words, thing)
    return " ".join(_with_places(words, thing) if "and" in words else words)


def _with_kinds(words: list[str], thing: Thing, room: Thing) -> list[str]:
    """ "Garage and patio lights": the lights of both rooms."""
    for at in range(len(words)):
        end = room(words, at)
        if (
            end == at
            or words[end : end + 1] != ["and"]
            or {"in", "on", "of", "from"} & {*words[max(0, at - 2) : at]}
        ):
            continue
        start = end + 1 + (words[end + 1 : end + 2] == ["the"])
        last = max(thing(words, start), room(words, start) + 1) if start < len(words) else start
        if (
            start + 1 < last <= len(words)
            and words[last - 1] in _KINDS
            and words[at:end] != words[start : last - 1]
        ):
            return [*words[:end], words[last - 1], *words[end:]]
    return words


def _with_ones(words: list[str], thing: Thing) -> list[str]:
    """ "The gull lamp blue and the primrose one pink": what the other is called is in the first name."""
    for at, word in enumerate(words):
        telling = next((size for size in (1, 2) if at > size and words[at - size - 1] in _ARTICLES), 0)
        if word != "one" or not telling:
            continue
        head = words[at - telling : at]
        for start, end in reversed([*_things(words[: at - telling - 1], thing)]):
            for tail in range(start + 1, end):
                whole = [*head, *words[tail:end]]
                if thing(whole, 0) == len(whole):
                    return [*words[: at - telling], *whole, *words[at + 1 :]]
    return words


def _with_places(words: list[str], thing: Thing) -> list[str]:
    """ "The summerhouse light and heater": both are the summerhouse's, where its heater is called so."""
    for start, end in [*_things(words, thing)]:
        if end - start > 1 and words[end : end + 1] == ["and"] and end + 1 < len(words):
            last = thing(words, end + 1)
            if last == end + 2 and words[last : last + 1] != ["the"]:
                whole = [*words[start : end - 1], words[end + 1]]
                if thing(whole, 0) == len(whole):
                    return [*words[: end + 1], *whole, *words[last:]]
    return words


def _things(words: list[str], thing: Thing) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(words):
        end = thing(words, at)
        if end > at:
            yield at, end
        at = max(end, at + 1)
