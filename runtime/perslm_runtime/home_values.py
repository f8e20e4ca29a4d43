"""Numbers in what was said, with their units: "forty percent", "21.5 degrees", "half", "minus two". Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from perslm_runtime.home_vocabulary import Vocabulary, longest
from perslm_runtime.home_wish import Number
from perslm_runtime.number_words import cardinal

_UNITS = {
    **dict.fromkeys(("percent", "%"), "pct"),
    **dict.fromkeys(("degrees", "degree", "celsius", "fahrenheit", "centigrade"), "deg"),
    **dict.fromkeys(("kelvin", "k"), "kel"),
    "c": "deg",
}

SCALES = {"celsius": "C", "centigrade": "C", "c": "C", "fahrenheit": "F", "f": "F"}
_COUNTED = (["degree"], ["degrees"], ["percent"])
_DEGREES = (
    (("a", "degree", "or", "two"), 2),
    (("a", "degree"), 1),
    (("half", "a", "degree"), 0.5),
    (("a", "couple", "of", "degrees"), 2),
    (("couple", "of", "degrees"), 2),
    (("a", "couple", "degrees"), 2),
    (("a", "few", "degrees"), 3),
)


def value_at(words: Sequence[str], at: int, known: Vocabulary) -> tuple[str, Number, int] | None:
    """(list, value, end) of the number at a word: "pct", "deg", "kel", or "n" where no unit was said."""
    for spoken, degrees in _DEGREES:
        if tuple(words[at : at + len(spoken)]) == spoken:
            return "deg", degrees, at + len(spoken)
    if level := longest(known.levels, words, at):
        return "pct", level[0], level[1]
    thing = (
        words[at] == "one"
        and list(words[at + 1 : at + 2]) not in _COUNTED
        and (at == 0 or words[at - 1] in known.not_a_number)
    )  # "this one"
    thing = thing or list(words[at : at + 2]) == ["one", "of"]
    found = None if thing else _number_at(words, at)
    if found is None:
        return None
    value, end = found
    if words[end : end + 2] == ["per", "cent"]:
        return "pct", value, end + 2
    unit = _UNITS.get(words[end]) if end < len(words) else None
    if unit is not None:
        also = words[end + 1 : end + 2] in (["celsius"], ["fahrenheit"], ["centigrade"], ["kelvin"], ["c"], ["f"])
        return unit, value, end + 1 + also
    return ("pct" if words[at].endswith("%") else "n"), value, end


def _number_at(words: Sequence[str], at: int) -> tuple[Number, int] | None:
    """A number in digits or words with its decimals: "21.5", "twenty one and a half", "minus two"."""
    if words[at] in ("minus", "negative") and at + 1 < len(words):
        below = _number_at(words, at + 1)
        return None if below is None else (-below[0], below[1])
    value: Number
    if re.fullmatch(r"\d{1,5}([.,]\d{1,2})?%?", words[at]):
        text = words[at].rstrip("%").replace(",", ".")
        value, end = (float(text) if "." in text else int(text)), at + 1
    else:
        found = cardinal(words, at)
        if found is None:
            return None
        value, end = found
    if words[end : end + 1] == ["thousand"]:
        value, end = value * 1000, end + 1
        if end < len(words) and (more := cardinal(words, end)):
            value, end = value + more[0], more[1]
    if words[end : end + 1] == ["point"] and (tail := cardinal(words, end + 1)) and tail[0] < 10:
        return value + tail[0] / 10, tail[1]
    if words[end : end + 3] == ["and", "a", "half"]:
        return value + 0.5, end + 3
    return value, end
