"""Numbers that belong to somebody, where they stand in a text: phones, cards, accounts. The door to phonenumbers.

Written ("020 7946 0958") and as a recognizer writes what was said ("oh two oh seven nine …"). Takes rather too much
than too little: a number of six digits is taken whatever it is, a time, a date and a temperature are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import phonenumbers

from perslm_runtime.private_digits import Run, runs

PHONE, CARD, NUMBER = "phone", "card", "number"


class Span(NamedTuple):
    """A piece of a text, from `start` up to `end`, and what it is."""

    start: int
    end: int
    kind: str


_GROUPED = re.compile(
    r"(?<![\w.,:/-])(?:\+|\(\+?)?\d(?:[ ().\-/\u2010-\u2015]{0,3}\d){4,24}(?: ?(?:x|ext\.?) ?\d{1,6})?(?![\w:%])"
    r"(?! ?(?:kilowatts?|kwh|km|kilomet|miles|steps|lit(?:re|er)s|cubic|people|votes|views|bytes|rpm|lumens?)\b)"
)
_MANY = re.compile(r"(?:\d[ ().\-/\u2010-\u2015]{0,3}){6}")
_DATE = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{2,4}|\d{1,2}[.:]\d{2} ?- ?\d{1,2}[.:]\d{2}"
)
_ACCOUNT = re.compile(r"(?<!\w)[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{2,4}){3,8}(?!\w)")
_SOCIAL = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")
_CALLED = re.compile(
    r"\b(?:call|ring|dial|text|phone|mobile|cell|fax|number|reach|extension|whatsapp)\b(?:\W+[a-z']+){0,5}?\W+"
    r"(?P<number>\+?\d(?:[ .\-/]?\d){2,})(?![\w:%])",
    re.IGNORECASE,
)
_DIGITS = "zero|oh|o|one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
ONE_SAID = rf"(?:(?:double|triple|treble) (?:{_DIGITS})|(?:{_TENS})(?:[ -](?:{_DIGITS}))?|{_TEENS}|{_DIGITS}|hundred|\d{{1,4}})"
_SAID = re.compile(
    rf"(?<![\w'])(?:plus |area code )?{ONE_SAID}(?:(?:,? |-){ONE_SAID}){{4,}}(?![\w'])", re.IGNORECASE
)
# Who is called, in languages whose numbers private_digits.py knows.
_CALLED_ELSEWHERE = re.compile(
    r"\b(?:\w*nummer|handy|\w*telefon\w*|durchwahl|(?:zurück)?ruf(?:e|en)?|anrufen|wähle?|unter|notier\w*|num[ée]ro|r?appelle\w*|"
    r"t[ée]l[ée]phone|portable|fixe|note|joindre|compose|numer\w*|(?:ri)?chiama\w*|telefono|cellulare|segna|tel[ée]fono|número|"
    r"ll[aá]ma\w*|marca|móvil|fijo|apunta|anota|bel|bellen|terugbellen|telefoon\w*|mobiel\w*|schrijf|(?:od|za)?dzwoń|komórk\w*|zapisz|"
    r"liga\w*|telefone|telemóvel|celular|disca|contacto)\b(?:\W+\w+){0,5}?\W+$",
    re.IGNORECASE,
)
_FEWEST_WORDS, _FEWEST_WORDS_CALLED = 6, 4
# "6-4, 3-6": sets and matches, two numbers and again two.
_SCORES = re.compile(
    r"(?<![\w-])\d{1,3}[-\u2013]\d{1,3}(?:(?:, (?:and )?| and )\d{1,3}[-\u2013]\d{1,3})+(?![\w-])"
)
_FEWEST_DIGITS = 6
_FEWEST_OF_ACCOUNT = 14
_CARD_DIGITS = range(13, 20)


def spans(text: str, regions: Sequence[str]) -> Iterator[Span]:
    """Every such number. `regions` are the countries whose way of writing a phone number is known ("US", "DE")."""
    for found in _ACCOUNT.finditer(text):
        said = found[0].replace(" ", "")
        if len(said) >= _FEWEST_OF_ACCOUNT and sum(map(str.isdigit, said)) >= _FEWEST_DIGITS:
            yield Span(*found.span(), NUMBER)
    for found in _SOCIAL.finditer(text):
        yield Span(*found.span(), NUMBER)
    scores = [found.span() for found in _SCORES.finditer(text)]
    for span in (*(_in_digits(text, regions) if re.search(r"\d", text) else ()), *_in_words(text)):
        if not any(start <= span.start and span.end <= end for start, end in scores):
            yield span


def _in_words(text: str) -> Iterator[Span]:
    for found in _SAID.finditer(text):
        count = _count_said(found[0])
        if count >= _FEWEST_DIGITS - 1:
            yield Span(*found.span(), CARD if count in _CARD_DIGITS else PHONE)
    for run in runs(text):
        if _is_somebodys(run, text):
            yield Span(run.start, run.end, CARD if len(run.said) in _CARD_DIGITS else PHONE)


def _is_somebodys(run: Run, text: str) -> bool:
    """Whether a number in words is one that is called: by what stands before it, or by its many digits."""
    if run.counts:
        return False
    if len(run.said) >= _FEWEST_WORDS and not run.large:
        return True
    return (len(run.said) >= _FEWEST_WORDS_CALLED or run.digits >= _FEWEST_DIGITS) and _CALLED_ELSEWHERE.search(
        text[: run.start]
    ) is not None


def _in_digits(text: str, regions: Sequence[str]) -> Iterator[Span]:
    for found in _CALLED.finditer(text):
        yield Span(*found.span("number"), PHONE)
    for found in _GROUPED.finditer(text):
        if (kind := _kind_of(found[0])) is not None:
            yield Span(*found.span(), kind)
    for region in regions if _MANY.search(text) else ():  # 0.1 ms a country
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            yield Span(match.start, match.end, PHONE)


def is_card(digits: str) -> bool:
    """Whether digits have a payment card's length and check digit (Luhn)."""
    if len(digits) not in _CARD_DIGITS:
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(number - 9 if number > 9 else number for number in doubled) % 10 == 0


def _kind_of(written: str) -> str | None:
    digits = "".join(letter for letter in written if letter.isdigit())
    if _DATE.fullmatch(written.strip()) or len(digits) < _FEWEST_DIGITS:
        return None
    if is_card(digits):
        return CARD
    return NUMBER if len(digits) > 15 else PHONE


def _count_said(words: str) -> int:
    """How many digits were said: "double seven" are two, "twenty one" as well."""
    count = 0
    for word in re.findall(r"[a-z]+|\d+", words.lower()):
        if word in {"double", "triple", "treble"}:
            count += 1 if word == "double" else 2
        elif word.isdigit():
            count += len(word)
        elif re.fullmatch(_TEENS, word):
            count += 2
        elif re.fullmatch(rf"{_TENS}|{_DIGITS}|hundred", word):
            count += 1
    return count
