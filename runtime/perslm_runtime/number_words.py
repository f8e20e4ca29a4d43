"""English number words at a place in a sentence: whole numbers, ordinals, fractions, and what sounds like them.

Pure. Takes lower-case words without punctuation and gives the number with the place after it, or None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

HOMOPHONES = {"for": 4, "fore": 4, "to": 2, "too": 2, "won": 1, "ate": 8}
"""What a recognizer may write for a number; taken only where nothing but a number fits."""

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = {
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fourty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}
_NUMBERS = {word: number for number, word in enumerate(_SMALL.split())} | _TENS
_ROW = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
)
_ORDINALS = {word: number for number, word in enumerate(_ROW.split(), start=1)} | {"thirtieth": 30}
_FRACTIONS = {("half",): 0.5, ("quarter",): 0.25, ("three", "quarters"): 0.75, ("third",): 1 / 3}

Words = Sequence[str]


def cardinal(words: Words, at: int) -> tuple[int, int] | None:
    """A whole number below a thousand in words, or of at most four digits."""
    if at >= len(words):
        return None
    if re.fullmatch(r"\d{1,4}", words[at]):
        return int(words[at]), at + 1
    total, end = _below_hundred(words, at)
    if end == at and words[at] == "a" and words[at + 1 : at + 2] == ["hundred"]:
        total, end = 1, at + 1
    if end == at:
        return None
    if words[end : end + 1] == ["hundred"] and 1 <= total <= 9:
        total, end = total * 100, end + 1
        rest = end + 1 if words[end : end + 1] == ["and"] else end
        more, after = _below_hundred(words, rest)
        if after > rest:
            total, end = total + more, after
    return total, end


def _below_hundred(words: Words, at: int) -> tuple[int, int]:
    number = _NUMBERS.get(words[at]) if at < len(words) else None
    if number is None:
        return 0, at
    unit = _NUMBERS.get(words[at + 1], 0) if number >= 20 and at + 1 < len(words) else 0
    return (number + unit, at + 2) if 1 <= unit <= 9 else (number, at + 1)


def ordinal(words: Words, at: int) -> tuple[int, int] | None:
    """ "third", "twenty first", "3rd"."""
    word = words[at] if at < len(words) else ""
    if word in _ORDINALS:
        return _ORDINALS[word], at + 1
    if word in {"twenty", "thirty"} and at + 1 < len(words) and words[at + 1] in _ORDINALS:
        return _TENS[word] + _ORDINALS[words[at + 1]], at + 2
    split = words[at + 1] if at + 1 < len(words) else ""  # "3rd" comes as "3", "rd"
    return (int(word), at + 2) if word.isdigit() and split in {"st", "nd", "rd", "th"} else None


def fraction(words: Words, at: int) -> tuple[float, int] | None:
    """ "half", "a quarter", "three quarters", "1/2" at a place."""
    start = at + 1 if words[at : at + 1] in (["a"], ["one"]) else at
    written = written_fraction(words, start)
    if written is not None:
        return written, start + 1
    for name, share in _FRACTIONS.items():
        if tuple(words[start : start + len(name)]) == name:
            return share, start + len(name)
    return None


def written_fraction(words: Words, at: int) -> float | None:
    """The share that one word like "1/2" is."""
    found = re.fullmatch(r"([1-3])/([2-4])", words[at]) if at < len(words) else None
    return int(found[1]) / int(found[2]) if found and found[1] < found[2] else None
