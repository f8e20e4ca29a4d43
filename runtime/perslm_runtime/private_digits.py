"""Numbers as German, French, Italian, Spanish, Dutch, Polish and Portuguese say them: runs of such words in a text.

Every word up to ninety-nine is kept with its digits, those of one word ("vierundachtzig", "novantuno") as well, so a
word is found by one look into a table. What a run is, somebody's number or ten that are counted, is said by others.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple


class Run(NamedTuple):
    """Words from `start` up to `end` that are numbers of one language, and what each says ("24", "100")."""

    start: int
    end: int
    said: tuple[str, ...]

    @property
    def digits(self) -> int:
        """How many digits were said, about: French says 98 with four words."""
        return sum(map(len, self.said))

    @property
    def counts(self) -> bool:
        """Whether each is one more, or one less, than that before it."""
        values = [int(one) for one in self.said]
        steps = {later - earlier for earlier, later in pairwise(values)}
        return steps in ({1}, {-1})

    @property
    def large(self) -> bool:
        """Whether hundreds are in it: an amount or a year, rather than digits."""
        return any(int(one) >= 100 for one in self.said)


def runs(text: str) -> Iterator[Run]:
    """The longest runs, left to right; one word is a run as well. A word that two languages have counts in both."""
    words = [(found.start(), found.end(), found[0].lower()) for found in _WORD.finditer(text)]
    said = {word for _, _, word in words}
    for numbers, joins in _LANGUAGES:
        if numbers.keys().isdisjoint(said):
            continue
        at = 0
        while at < len(words):
            run, after = _run(text, words[at:], numbers, joins)
            if run is not None:
                yield run
            at += max(after, 1)


def _run(
    text: str, words: list[tuple[int, int, str]], numbers: Mapping[str, str], joins: frozenset[str]
) -> tuple[Run | None, int]:
    """The run that begins with the first of the words, and how many words it has."""
    said: list[str] = []
    end = place = 0
    for place, (begin, stop, word) in enumerate([*words, (len(text), len(text), "")]):
        follows = place + 1 < len(words) and words[place + 1][2] in numbers
        if said and not _NEAR.fullmatch(text[end:begin]):
            break
        if word in numbers:
            said.append(numbers[word])
        elif not (said and word in joins and follows):
            break
        end = stop
    return (Run(words[0][0], end, tuple(said)) if said else None), place


_WORD = re.compile(r"[^\W\d_]+")
_NEAR = re.compile(r",? |-")


def _bare(word: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFD", word) if not unicodedata.combining(letter))


def _table(digits: str, teens: str, tens: str, more: Mapping[str, str]) -> dict[str, str]:
    """What each word says: `digits` are zero to nine, several for one by "/"; so are ten to nineteen and twenty on."""
    table: dict[str, str] = {}
    for words, first in ((digits, 0), (teens, 10)):
        for number, ways in enumerate(words.split(), first):
            table |= dict.fromkeys(ways.split("/"), str(number))
    for number, ways in enumerate(tens.split(), 2):
        table |= dict.fromkeys(ways.split("/"), f"{number}0")
    table |= more
    return table | {_bare(word): value for word, value in table.items()}


def _ones_first(ones: str, tens: str) -> dict[str, str]:
    """Words of the German and Dutch kind: `ones` are one to nine with their "and", the tens follow in one word."""
    return {
        one + ten: f"{high}{low}"
        for low, ways in enumerate(ones.split(), 1)
        for one in ways.split("/")
        for high, ten in enumerate(tens.split(), 2)
    }


def _of_hundreds(words: Mapping[str, str], hundreds: Mapping[str, str]) -> dict[str, str]:
    """ "hundertsieben", "centodue": one word as well."""
    return {
        hundred + word: f"{value}{number:0>2}"
        for hundred, value in hundreds.items()
        for word, number in words.items()
        if number != "0"
    } | {hundred: f"{value}00" for hundred, value in hundreds.items()}


_DE_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig"
_DE = _table(
    "null eins zwei/zwo drei vier fünf sechs sieben acht neun",
    "zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn",
    _DE_TENS,
    _ones_first("einund zweiund dreiund vierund fünfund sechsund siebenund achtund neunund", _DE_TENS),
)
_DE |= {word.replace("ß", "ss"): value for word, value in _DE.items()}
_DE |= _of_hundreds(_DE, {"hundert": "1", "einhundert": "1", "zweihundert": "2"})
_NL_TENS = "twintig dertig veertig vijftig zestig zeventig tachtig negentig"
_NL_TEENS = "tien elf twaalf dertien veertien vijftien zestien zeventien achttien negentien"
_NL = _table(
    "nul een/één twee drie vier vijf zes zeven acht negen",
    _NL_TEENS,
    _NL_TENS,
    _ones_first("eenen tweeën/tweeen drieën/drieen vieren vijfen zesen zevenen achten negenen", _NL_TENS),
)
_NL |= _of_hundreds(_NL, {"honderd": "1", "tweehonderd": "2"})
_FR = _table(
    "zéro un deux trois quatre cinq six sept huit neuf",
    "dix onze douze treize quatorze quinze seize",
    "vingt/vingts trente quarante cinquante soixante septante huitante/octante nonante",
    {"cent": "100", "cents": "100"},
)
_IT_TENS = "venti trenta quaranta cinquanta sessanta settanta ottanta novanta"
_IT_ONES = "uno due tre quattro cinque sei sette otto nove"
_IT = _table(
    f"zero {_IT_ONES}",
    "dieci undici dodici tredici quattordici quindici sedici diciassette diciotto diciannove",
    _IT_TENS,
    {
        (ten[:-1] if one[0] in "uo" else ten) + (one if one != "tre" else accented): f"{high}{low}"
        for high, ten in enumerate(_IT_TENS.split(), 2)
        for low, one in enumerate(_IT_ONES.split(), 1)
        for accented in ("tré", "tre")
    },
)
_IT |= _of_hundreds(_IT, {"cento": "1", "duecento": "2", "trecento": "3"})
_ES_ONES = "uno/un dos tres cuatro cinco seis siete ocho nueve"
_ES = _table(
    f"cero {_ES_ONES}",
    "diez once doce trece catorce quince dieciséis diecisiete dieciocho diecinueve",
    "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    dict(
        zip(
            [
                "veintiuno",
                "veintidós",
                "veintitrés",
                "veinticuatro",
                "veinticinco",
                "veintiséis",
                "veintisiete",
                "veintiocho",
                "veintinueve",
            ],
            map(str, range(21, 30)),
            strict=True,
        )
    )
    | {"cien": "100", "ciento": "100"}
    | {f"{one}cientos": f"{number}00" for number, one in ((2, "dos"), (3, "tres"), (4, "cuatro"), (6, "seis"))}
    | {"quinientos": "500", "setecientos": "700", "ochocientos": "800", "novecientos": "900"},
)
_PL = _table(
    "zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć",
    "dziesięć jedenaście dwanaście trzynaście czternaście piętnaście szesnaście siedemnaście osiemnaście dziewiętnaście",
    "dwadzieścia trzydzieści czterdzieści pięćdziesiąt sześćdziesiąt siedemdziesiąt osiemdziesiąt dziewięćdziesiąt",
    {"sto": "100", "dwieście": "200", "trzysta": "300", "czterysta": "400", "pięćset": "500", "sześćset": "600"}
    | {"siedemset": "700", "osiemset": "800", "dziewięćset": "900"},
)
_PT = _table(
    "zero um dois três quatro cinco seis/meia sete oito nove",
    "dez onze doze treze catorze/quatorze quinze dezasseis/dezesseis dezassete/dezessete dezoito dezanove/dezenove",
    "vinte trinta quarenta cinquenta sessenta setenta oitenta noventa",
    {
        "cem": "100",
        "cento": "100",
        "duzentos": "200",
        "trezentos": "300",
        "quatrocentos": "400",
        "quinhentos": "500",
    }
    | {"seiscentos": "600", "setecentos": "700", "oitocentos": "800", "novecentos": "900"},
)
_LANGUAGES: tuple[tuple[Mapping[str, str], frozenset[str]], ...] = (
    (_DE, frozenset(("und",))),
    (_FR, frozenset(("et",))),
    (_IT, frozenset(("e",))),
    (_ES, frozenset(("y",))),
    (_NL, frozenset(("en",))),
    (_PL, frozenset()),
    (_PT, frozenset(("e",))),
)
