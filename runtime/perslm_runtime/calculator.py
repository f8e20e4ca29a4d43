"""Arithmetic as people write and say it, exact: fractions, percent, powers, units, conversions. Pure and bounded.

A parser of its own and no `eval`: nothing but numbers, operators, a few functions and units is understood. Own
code because an exact library with units (pint, sympy) takes 8 to 40 MB and 0.2 to 0.6 s to import on a PC. What
cannot be exact (roots, pi) is computed to 30 digits and said as "about".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction

from perslm_runtime.errors import InputError
from perslm_runtime.number_words import cardinal
from perslm_runtime.units import LONGEST_NAME, UNITS, Kind, Unit

MOST_CHARACTERS = 200
_MOST_BITS = 4096  # of a numerator or denominator: 1,200 digits, which nobody listens to
_MOST_DEPTH = 40
_PRECISE = Context(prec=30)
_PI = Fraction("3.14159265358979323846264338327950288")
_E = Fraction("2.71828182845904523536028747135266250")

_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_ASKED = re.compile(
    r"^(?:please |perslm )*(?:(?:what is|what's|whats|what are|how much is|how much are|how many is|calculate|"
    r"compute|work out|convert|tell me|i want to know|do you know)\s+)*",
    re.IGNORECASE,
)
_HOW_MANY = re.compile(
    r"^how many (?P<to>[a-z ]+?) (?:are there in|are in|is in|is|are|in|make) (?P<what>.+)$", re.IGNORECASE
)
# Longest first; "x" stands between two numbers alone.
_SPOKEN = (
    (r"\bmultiplied by\b|\btimes\b|(?<=\d)\s*[x×]\s*(?=[\d(])|·", " * "),
    (r"\bdivided by\b|\bover\b|÷", " / "),
    (r"\bto the power of\b|\braised to\b|\*\*", " ^ "),
    (r"\bplus\b|\badded to\b", " + "),
    (r"\bminus\b|−|–", " - "),
    (r"\bsquare root of\b|√", " sqrt "),
    (r"\bcube root of\b", " cbrt "),
    (r"\bsquared\b|²", " ^ 2 "),
    (r"\bcubed\b|³", " ^ 3 "),
    (r"\bper ?cent\b", " % "),
    (r"\bmodulo\b|\bmodulus\b", " mod "),
    (r"\bhalf of\b", " 0.5 of "),
    (r"\ba (?:third) of\b", " 1/3 of "),
    (r"\ba (?:quarter) of\b", " 0.25 of "),
    (r"\ba dozen\b", " 12 "),
    (r"[$]\s*(\d[\d.,]*)", r" \1 dollars "),
    (r"€\s*(\d[\d.,]*)", r" \1 euros "),
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d[\d,]*(?:\.\d+)?|\.\d+)|(?P<sign>[-+*/^%()!])|(?P<word>[a-z°][a-z°/0-9]*))"
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value in base units of its kind; `unit` is what it was said in, None for a bare number."""

    value: Fraction
    kind: Kind = ()
    unit: Unit | None = None
    exact: bool = True
    percent: bool = False

    def said(self) -> str:
        """It as a person reads it: "80.5", "about 0.333333", "9.84252 feet"."""
        shown = self.value if self.unit is None else self.value / self.unit.size - self.unit.zero / self.unit.size
        number, exact = _number(shown)
        about = "" if exact and self.exact else "about "
        if self.unit is None:
            return f"{about}{number}"
        return f"{about}{number} {self.unit.one if abs(shown) == 1 else self.unit.many}"


def calculate(text: str) -> Quantity:
    """What an expression comes to. Raises `InputError` where it is none, or too large."""
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"that has {len(text)} characters and at most {MOST_CHARACTERS} are computed")
    parser = _Parser(_tokens(_plain(text)))
    return parser.whole()


def expression_of(sentence: str) -> str | None:
    """What a question asks to be computed: "15 % of 80" of "what is 15 % of 80"; None for any other question."""
    asked = sentence.strip().rstrip("?!. ")
    if len(asked) > MOST_CHARACTERS:
        return None
    if found := _HOW_MANY.match(asked):
        asked = f"{found['what']} in {found['to']}"
    bare = re.sub(r"^the (?=square|cube|product|sum|half)", "", _ASKED.sub("", asked).strip(), flags=re.IGNORECASE)
    if bare in ("9/11", "24/7", "7/11"):  # names, as nearly everybody means them
        return None
    plain = _plain(bare)
    if not re.search(r"\d", plain) or not re.search(r"[-+*/^%]|\b(?:of|in|to|into|sqrt|cbrt|mod)\b", plain):
        return None
    return bare if _has_the_form(plain) else None


def _has_the_form(plain: str) -> bool:
    """Whether it is a sum, without computing it: every number is taken for one, so nothing in it can grow."""
    try:
        _Parser(["1" if re.fullmatch(r"[\d.,]+", token) else token for token in _tokens(plain)]).whole()
    except InputError as error:
        # "Nothing can be divided by zero" is an answer.
        return str(error).startswith("nothing")
    return True


def _plain(text: str) -> str:
    """With operators for words and digits for number words."""
    plain = f" {text.lower()} ".replace("’", "'")
    if not re.search(r"m[23]\b", plain):
        plain = re.sub(r"(?<=\d)(?=[a-z°])|(?<=[a-z])(?=\d)", " ", plain)
    for pattern, replacement in _SPOKEN:
        plain = re.sub(pattern, replacement, plain)
    words = re.sub(r"-(?=[a-z])", " ", plain).split()
    out: list[str] = []
    at = 0
    while at < len(words):
        value, at = _spoken_number(words, at)
        out.append(value)
    return " ".join(out)


def _spoken_number(words: list[str], at: int) -> tuple[str, int]:
    """The number that begins at a word, "two hundred thousand" and "three point one four" too; else the word."""
    if re.search(r"\d", words[at]) or (found := cardinal(words, at)) is None:
        return words[at], at + 1
    total, end = 0, at
    while found is not None and not re.search(r"\d", words[end]):
        value, end = found
        scale = _SCALES.get(words[end]) if end < len(words) else None
        total, end = total + value * (scale or 1), end + (scale is not None)
        rest = end + 1 if words[end : end + 1] == ["and"] else end
        found = cardinal(words, rest) if scale and rest < len(words) else None
        end = rest if found is not None else end
    if words[end : end + 1] == ["point"]:
        digits, following = "", end + 1
        while following < len(words) and (one := cardinal(words, following)) is not None and one[0] < 10:
            digits, following = digits + str(one[0]), one[1]
        if digits:
            return f"{total}.{digits}", following
    return str(total), end


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise InputError(f"{text[at : at + 20].strip()!r} is nothing that can be computed")
        tokens.append(found[0].strip())
        at = found.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens; every value stays within bounds."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._at, self._depth = tokens, 0, 0

    def whole(self) -> Quantity:
        found = self._sum()
        while self._next() in ("in", "to", "into", "as"):
            self._at += 1
            if (unit := self._unit()) is None:
                raise InputError("say what unit it is wanted in, for example: 3 metres in feet")
            found = _converted(found, unit)
        if self._at < len(self._tokens):
            raise InputError(f"{self._tokens[self._at][:20]!r} is nothing that can be computed")
        return found

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *tokens: str) -> str:
        if self._next() in tokens and self._next():
            self._at += 1
            return self._tokens[self._at - 1]
        return ""

    def _sum(self) -> Quantity:
        found = self._product()
        while sign := self._take("+", "-"):
            found = _added(found, self._product(), 1 if sign == "+" else -1)
        return found

    def _product(self) -> Quantity:
        found = self._signed()
        while sign := self._take("*", "/", "mod", "of"):
            found = _multiplied(found, self._signed(), sign)
        return found

    def _signed(self) -> Quantity:
        if self._take("-"):
            found = self._deeper(self._signed)
            return replace(found, value=-found.value)
        self._take("+")
        return self._power()

    def _power(self) -> Quantity:
        base = self._measured()
        return _power(base, self._deeper(self._signed)) if self._take("^") else base

    def _measured(self) -> Quantity:
        found = self._atom()
        while self._next() in ("%", "!"):
            if self._take("!"):
                found = _factorial(found)
            else:
                self._at += 1
                found = replace(found, value=found.value / 100, percent=True)
        unit = self._unit() if not found.kind else None
        if unit is None:
            return found
        measured = Quantity(_bounded(found.value * unit.size + unit.zero), unit.kind, unit, found.exact)
        # "5 feet 11 inches" is one length
        if self._at < len(self._tokens) and re.fullmatch(r"\d.*", self._next()) and not unit.zero:
            more = self._measured()
            if more.kind == measured.kind and more.unit is not None and more.unit.size < unit.size:
                return replace(measured, value=_bounded(measured.value + more.value))
            raise InputError("two numbers stand side by side: say what is to be done with them")
        return measured

    def _atom(self) -> Quantity:
        word = self._next()
        self._at += 1
        if re.fullmatch(r"[\d.,]+", word):
            return Quantity(_bounded(Fraction(word.replace(",", ""))))
        if word == "(":
            found = self._deeper(self._sum)
            if not self._take(")"):
                raise InputError("a bracket is not closed")
            return found
        if word in _FUNCTIONS:
            return _function(word, self._deeper(self._power))
        if word in _CONSTANTS:
            return Quantity(_CONSTANTS[word], exact=False)
        raise InputError(f"{word[:20]!r} is nothing that can be computed" if word else "something is missing")

    def _deeper(self, parse: Callable[[], Quantity]) -> Quantity:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise InputError("that is nested too deeply")
        found = parse()
        self._depth -= 1
        return found

    def _unit(self) -> Unit | None:
        for length in range(LONGEST_NAME, 0, -1):
            words = self._tokens[self._at : self._at + length]
            if len(words) == length and (unit := UNITS.get(" ".join(words))) is not None:
                self._at += length
                return unit
        return None


def _added(one: Quantity, other: Quantity, sign: int) -> Quantity:
    if other.percent and not one.percent:  # 80 + 15 % is 92, as people mean it
        return replace(one, value=_bounded(one.value * (1 + sign * other.value)), exact=one.exact and other.exact)
    if one.kind != other.kind:
        raise InputError("nothing comes of adding two different kinds of thing")
    if one.unit is not None and one.unit.zero:
        raise InputError("nothing comes of adding temperatures: a difference is said in degrees")
    value = _bounded(one.value + sign * other.value)
    return replace(one, value=value, exact=one.exact and other.exact, percent=one.percent and other.percent)


def _multiplied(one: Quantity, other: Quantity, sign: str) -> Quantity:
    if sign in ("/", "mod") and other.value == 0:
        raise InputError("nothing can be divided by zero")
    exact = one.exact and other.exact
    if sign == "mod":
        if one.kind or other.kind:
            raise InputError("a remainder is of numbers alone")
        return Quantity(one.value % other.value, exact=exact)
    value = _bounded(one.value / other.value if sign == "/" else one.value * other.value)
    powers = dict(one.kind)
    for name, power in other.kind:
        powers[name] = powers.get(name, 0) + (-power if sign == "/" else power)
    kind = tuple(sorted((name, power) for name, power in powers.items() if power))
    unit = next((side.unit for side in (one, other) if side.unit is not None and side.kind == kind), None)
    if unit is None and one.unit is not None and other.unit is not None and sign == "/":
        unit = UNITS.get(f"{one.unit.one} per {other.unit.one}")
    if kind and unit is None:
        unit = next((known for known in UNITS.values() if known.kind == kind and known.size == 1), None)
        if unit is None:
            raise InputError("nothing here is measured in such a unit")
    return Quantity(value, kind, unit, exact)


def _power(base: Quantity, exponent: Quantity) -> Quantity:
    if base.kind or exponent.kind:
        raise InputError("only numbers can be raised to a power")
    value, wanted = base.value, exponent.value
    if value == 0 and wanted < 0:
        raise InputError("nothing can be divided by zero")
    if wanted.denominator == 1:
        bits = max(value.numerator.bit_length(), value.denominator.bit_length()) - (abs(value) == 1)
        if abs(wanted.numerator) * bits > _MOST_BITS:
            raise InputError("nothing that large can be told")
        return Quantity(_bounded(Fraction(value**wanted.numerator)), exact=base.exact and exponent.exact)
    if value < 0:
        raise InputError("nothing real comes of that power")
    return _approximate(lambda: _PRECISE.power(_decimal(value), _decimal(wanted)))


def _factorial(of: Quantity) -> Quantity:
    if of.kind or of.value.denominator != 1 or not 0 <= of.value <= 300:
        raise InputError("a factorial is of a whole number up to 300")
    value = 1
    for number in range(2, int(of.value) + 1):
        value *= number
    return Quantity(_bounded(Fraction(value)))


def _function(name: str, of: Quantity) -> Quantity:
    if of.kind:
        raise InputError("a root is of a number alone")
    if name in ("abs", "round"):
        return replace(of, value=abs(of.value) if name == "abs" else Fraction(round(of.value)))
    degree = 2 if name == "sqrt" else 3
    if of.value < 0 and degree == 2:
        raise InputError("nothing real is the square root of a negative number")
    sign, value = (-1 if of.value < 0 else 1), abs(of.value)
    over, under = _root(value.numerator, degree), _root(value.denominator, degree)
    if over**degree == value.numerator and under**degree == value.denominator:
        return Quantity(Fraction(sign * over, under), exact=of.exact)
    found = _approximate(lambda: _PRECISE.power(_decimal(value), _PRECISE.divide(Decimal(1), Decimal(degree))))
    return replace(found, value=sign * found.value)


_FUNCTIONS = frozenset(("sqrt", "cbrt", "abs", "round"))
_CONSTANTS = {"pi": _PI, "π": _PI, "e": _E}


def _root(value: int, degree: int) -> int:
    """The whole part of a root."""
    low, high = 0, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low


def _approximate(compute: Callable[[], Decimal]) -> Quantity:
    try:
        return Quantity(_bounded(Fraction(compute())), exact=False)
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise InputError("nothing that large can be told") from error


def _decimal(value: Fraction) -> Decimal:
    return _PRECISE.divide(Decimal(value.numerator), Decimal(value.denominator))


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise InputError("nothing that large can be told")
    return value


def _converted(found: Quantity, unit: Unit) -> Quantity:
    if found.kind != unit.kind:
        raise InputError(f"nothing of that kind is measured in {unit.many}")
    return replace(found, unit=unit)


def _number(value: Fraction) -> tuple[str, bool]:
    """The digits of a value, and whether they are all of it."""
    if value.denominator == 1:
        whole = value.numerator
        return (f"{whole:,}", True) if abs(whole) < 10**15 else (f"{_decimal(value):.6e}", False)
    places = 12
    scaled = value * 10**places
    if scaled.denominator == 1 and abs(value) < 10**12:
        sign = "-" if value < 0 else ""
        whole, rest = divmod(abs(scaled.numerator), 10**places)
        return f"{sign}{whole:,}.{f'{rest:0{places}}'.rstrip('0')}", True
    if value != 0 and not Fraction(1, 10**4) <= abs(value) < 10**12:
        return f"{_decimal(value):.6e}", False
    digits = max(0, 6 - len(str(abs(int(value)))) + (abs(value) < 1))
    return f"{_decimal(round(value, digits)):,f}", False
